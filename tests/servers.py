"""Real servers for tests: one Postgres pair and one Valkey pair for the whole session.

Fixtures (registered in tests/conftest.py): `servers` for the session, `database_dsn` and
`valkey_url` for a module, each empty at its start. With pytest-xdist each worker has its own set.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from ops.local.health import ServerRole
from ops.local.resp import ask
from ops.local.stores import LocalStores

T = TypeVar("T")

# Starting takes 3 s on an idle machine; a test session may share it with others.
_CALL_TIMEOUT_S = 110.0


class LoopThread:
    """An event loop on a thread of its own, so that servers outlive the loop of any one test.

    The kernel stops a server when the thread that started it ends, so this one lives until close.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[object, None, T]) -> T:
        """Run to the end and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CALL_TIMEOUT_S)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class SharedServers:
    """The session's servers. Its methods block: call them from fixtures and synchronous tests."""

    def __init__(self, stores: LocalStores, thread: LoopThread) -> None:
        self.stores = stores
        self._thread = thread

    @property
    def superuser(self) -> str:
        return self.stores.postgres.superuser

    @property
    def superuser_password(self) -> str:
        return self.stores.postgres.password

    def dsn(self, database: str, *, role: str | None = None, password: str | None = None) -> str:
        """The URL of a database on the primary, for the superuser unless a role is named."""
        return self.stores.postgres.dsn(
            role or self.superuser, password or self.superuser_password, database=database
        )

    def standby_dsn(self, database: str) -> str:
        """The URL of a database on the standby, for the superuser."""
        return self.stores.postgres.standby_dsn(
            self.superuser, self.superuser_password, database=database
        )

    def query(self, sql: str, *, database: str = "postgres") -> str:
        """Run SQL on the primary as the superuser; rows are lines, columns parted by `|`."""
        return self._thread.run(self.stores.postgres.query(sql, database=database))

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Make a fresh database, dropping an old one of that name, and return its URL.

        With a migrated database as `template` (nobody may be connected to it) this takes some tens
        of milliseconds, whatever the size of the schema: files are copied, and their pages need not
        go through the log and over to the standby.
        """
        self.drop_database(name)
        self.query(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop the database if it is there, ending whatever is connected to it."""
        self.query(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @property
    def valkey_url(self) -> str:
        return self.stores.valkey.primary_url

    @property
    def valkey_replica_url(self) -> str:
        return self.stores.valkey.replica_urls[0]

    def pid(self, role: ServerRole) -> int:
        """The process id of a server, to freeze or kill it."""
        for server in self._thread.run(self.stores.health()):
            if server.role is role and server.pid is not None:
                return server.pid
        raise AssertionError(f"no {role} runs")

    def kill(self, *roles: ServerRole) -> None:
        """End servers without a chance to tidy up. `heal` starts them again."""
        for pid in [self.pid(role) for role in roles]:
            os.kill(pid, signal.SIGKILL)

    def heal(self) -> None:
        """Start what died again on its data, and wait until every copy is in step."""
        self._thread.run(self.stores.start(lambda _: None))

    def empty_valkey(self) -> None:
        """Forget every key, and every loaded script."""
        valkey = self.stores.valkey
        commands = (("FLUSHALL",), ("SCRIPT", "FLUSH"))
        self._thread.run(ask(valkey.primary.port, valkey.password, *commands))


@pytest.fixture(scope="session")
def servers() -> Iterator[SharedServers]:
    """Started when the first test asks for them, stopped at the end of the session."""
    root = Path(tempfile.mkdtemp(prefix="tallystick-test-"))
    thread = LoopThread()
    try:
        stores = LocalStores.at(root, port_base=0)
        try:
            thread.run(stores.start(lambda _: None))
            yield SharedServers(stores, thread)
        finally:
            thread.run(stores.stop())
    finally:
        thread.close()
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def database_dsn(servers: SharedServers, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database of the test module's own."""
    name = request.module.__name__.rpartition(".")[2]
    yield servers.create_database(name)
    servers.drop_database(name)


@pytest.fixture(scope="module")
def valkey_url(servers: SharedServers) -> str:
    """The URL of the Valkey primary, emptied for the test module."""
    servers.empty_valkey()
    return servers.valkey_url
