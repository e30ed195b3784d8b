"""Fixtures that any test may ask for. Nothing starts until one does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.queue_farms import cluster_farm, own_cluster_farm, own_sentinel_farm, sentinel_farm
from tests.servers import database_dsn, servers, valkey_url

__all__ = [
    "cluster_farm",
    "database_dsn",
    "own_cluster_farm",
    "own_sentinel_farm",
    "sentinel_farm",
    "servers",
    "valkey_url",
]

# A shared machine stalls now and then; how long one example takes proves nothing.
# Derandomized, so that a run says the same of the same code; `--hypothesis-profile=explore` looks for
# what nobody has seen yet.
settings.register_profile("tallystick", deadline=None, max_examples=60, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=300)
# For make test-fast: enough to catch a slip while working; make test looks harder.
settings.register_profile("fast", deadline=None, max_examples=8)
settings.load_profile("tallystick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together, on one worker, what shares costly fixtures: a module, and all users of `stack`."""
    with_stack = {item.path for item in items if "stack" in getattr(item, "fixturenames", ())}
    for item in items:
        group = "stack" if item.path in with_stack else _group(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


def _group(path: Path) -> str:
    """Unit tests share nothing, but a folder of them is small enough to travel as one."""
    return str(path.parent if "unit" in path.parts else path)
