"""Everything in this folder runs against real servers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ops.local.stores import LocalStores
from tests.integration.stacks import StartStores, quiet
from tests.servers import SharedServers
from tests.verified_books import TEMPLATE, VerifiedBooks, make_books
from tests.verified_scene import Scene, a_scene


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


@pytest.fixture(scope="module")
def books(
    servers: SharedServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VerifiedBooks]:
    """Books in which all is right, of everything that can happen: made once a module, and copied for each change."""
    servers.drop_database(TEMPLATE)
    yield make_books(servers, tmp_path_factory.mktemp("verified-books"))
    servers.drop_database(TEMPLATE)


@pytest.fixture
async def scene(books: VerifiedBooks) -> AsyncIterator[Scene]:
    """A copy of them with a record of its own."""
    async with a_scene(books) as scene:
        yield scene
