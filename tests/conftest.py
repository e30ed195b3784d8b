"""Fixtures that any test may ask for. Nothing starts until one does."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from ops.compiled.form import CHECKOUT, is_copy
from tests.groups import GroupScheduling, rank_of
from tests.memory_disk import use_memory_disk
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


def pytest_configure() -> None:
    """Before anything asks for a temporary file; workers inherit the place."""
    use_memory_disk(os.environ)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first what takes longest, so that no worker has a long group left at the end."""
    items.sort(key=lambda item: rank_of(item.nodeid))
    if is_copy(CHECKOUT):
        for item in items:
            if item.get_closest_marker("interpreted"):
                item.add_marker(pytest.mark.skip(reason="the code is compiled"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> GroupScheduling | None:
    """Deal out by our groups wherever groups are asked for."""
    return GroupScheduling(config, log) if config.getoption("dist") == "loadgroup" else None
