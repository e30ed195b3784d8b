"""Everything in this folder runs against real servers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ops.local.stores import LocalStores
from tests.integration.stacks import StartStores, quiet


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder's tests, so that `-m "not integration"` leaves them out."""
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture
async def start_stores(tmp_path: Path) -> AsyncIterator[StartStores]:
    """Starts the stores of one home; called again after a stop, it resumes them."""
    started: list[LocalStores] = []

    async def start() -> LocalStores:
        stores = LocalStores.at(tmp_path / "var", port_base=0)
        started.append(stores)
        await stores.start(quiet)
        return stores

    yield start
    for stores in started:
        await stores.stop()
    shutil.rmtree(tmp_path / "var")


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the same user that has nothing to do with any stack."""
    with subprocess.Popen(["sleep", "100"]) as process:
        yield process
        process.kill()
