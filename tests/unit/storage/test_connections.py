"""Finding the primary, and giving up a session without a word, without a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from payments.defects import InvariantViolation
from runtime.faults import StorageUnavailable
from storage.connections import Connector, hosts_of
from storage.sessions import StatementUnanswered, postgres_faults


@pytest.mark.parametrize(
    ("dsn", "hosts"),
    [
        ("postgresql://u:p@a:1,b:2/tally", [("a", 1), ("b", 2)]),
        ("postgresql://u:p%40ss@a/tally?sslmode=disable", [("a", 5432)]),
        ("postgresql://[::1]:7,[::2]/tally", [("::1", 7), ("::2", 5432)]),
        ("postgresql:///tally", [("localhost", 5432)]),
    ],
)
def test_hosts_come_in_the_order_of_the_url(dsn: str, hosts: list[tuple[str, int]]) -> None:
    """A URL may name several hosts, each with a port or without."""
    assert list(hosts_of(dsn)) == hosts


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """A port on loopback that closes every connection at once."""

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def test_no_primary_is_a_fault_that_names_every_host(silent_port: int) -> None:
    """When no host lets us in, the fault says what each of them did, and no password."""
    dsn = f"postgresql://u:secret@127.0.0.1:{silent_port},127.0.0.1:1/tally"
    with pytest.raises(StorageUnavailable) as unavailable:
        await Connector(dsn, application_name="tests").open()
    reason = unavailable.value.reason
    assert f"127.0.0.1:{silent_port} " in reason
    assert "127.0.0.1:1 " in reason
    assert "secret" not in reason


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UniqueViolationError("twice"),
        asyncpg.NumericValueOutOfRangeError("too large"),
        asyncpg.UndefinedTableError("no such table"),
        asyncpg.InsufficientPrivilegeError("not yours"),
    ],
)
def test_our_own_mistakes_are_defects(error: asyncpg.PostgresError) -> None:
    """Rows and statements that Postgres refuses for what they are stop the partition."""
    with pytest.raises(InvariantViolation), postgres_faults():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.AdminShutdownError("bye"),
        asyncpg.LockNotAvailableError("busy"),
        asyncpg.DeadlockDetectedError("each other"),
        asyncpg.DiskFullError("full"),
        asyncpg.ConnectionDoesNotExistError("gone"),
        asyncpg.InterfaceError("closed"),
        ConnectionResetError("reset"),
        StatementUnanswered("silent"),
    ],
)
def test_what_the_server_suffers_is_a_fault(error: Exception) -> None:
    """A server that ends, is busy, is full or is gone is tried again, not blamed on the rows."""
    with pytest.raises(StorageUnavailable), postgres_faults():
        raise error
