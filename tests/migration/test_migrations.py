"""The migration runner and the installation of a shard, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

import asyncpg
import pytest

from payments.chain import GENESIS
from payments.defects import InvariantViolation
from payments.partitioning import ShardRange
from runtime.faults import StorageUnavailable
from storage.connections import Connector
from storage.deployments import (
    DeploymentDiffers,
    create_deployment,
    create_roles,
    read_deployment,
)
from storage.migrations import (
    Migration,
    MigrationChanged,
    MigrationUnknown,
    migrate,
    migrations_of_package,
    pending,
)
from storage.sessions import Session
from tests.books import DEPLOYMENT, PASSWORDS, copy_of_installed_books
from tests.servers import SharedServers

FIRST = Migration.parse("0001_first.sql", "-- migrate:up\nCREATE TABLE first (n integer);")
SECOND = Migration.parse("0002_second.sql", "-- migrate:up\nCREATE TABLE second (n integer);")
WRONG = Migration.parse(
    "0002_wrong.sql", "-- migrate:up\nCREATE TABLE half (n integer);\nCREATE TABLE first (n text);"
)


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Session]:
    session = await Connector(dsn, application_name="tests").open()
    try:
        yield session
    finally:
        await session.close()


@pytest.fixture
async def session(servers: SharedServers) -> AsyncIterator[Session]:
    """A session of the superuser in a new, empty database."""
    async with opened(servers.create_database("migrations")) as session:
        yield session


async def tables(session: Session) -> set[str]:
    rows = await session.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {row["tablename"] for row in rows} - {"schema_migration"}


async def test_each_migration_runs_once(session: Session) -> None:
    """What was applied is not applied again; what is new is."""
    assert await migrate(session, [FIRST]) == ["0001_first.sql"]
    assert await pending(session, [FIRST, SECOND]) == ["0002_second.sql"]
    assert await migrate(session, [FIRST, SECOND]) == ["0002_second.sql"]
    assert await migrate(session, [FIRST, SECOND]) == []
    assert await tables(session) == {"first", "second"}


async def test_a_failed_migration_leaves_nothing_of_itself(session: Session) -> None:
    """A file is applied whole or not at all, and those before it stay."""
    with pytest.raises(InvariantViolation):
        await migrate(session, [FIRST, WRONG])
    assert await tables(session) == {"first"}
    assert await migrate(session, [FIRST, SECOND]) == ["0002_second.sql"]


async def test_a_changed_migration_is_refused(session: Session) -> None:
    """A file that was applied must stay as it was, comments included."""
    await migrate(session, [FIRST])
    changed = Migration.parse(FIRST.name, "-- a word\n-- migrate:up\n" + FIRST.statements)
    with pytest.raises(MigrationChanged) as refused:
        await migrate(session, [changed, SECOND])
    assert refused.value.name == "0001_first.sql"
    assert await tables(session) == {"first"}


async def test_code_older_than_its_books_is_refused(session: Session) -> None:
    """Books that know more migrations than the code are left alone."""
    await migrate(session, [FIRST, SECOND])
    with pytest.raises(MigrationUnknown) as refused:
        await migrate(session, [FIRST])
    assert refused.value.names == ["0002_second.sql"]


async def test_two_runners_take_turns(servers: SharedServers, session: Session) -> None:
    """Two runners started at once apply each migration once."""
    async with opened(servers.dsn("migrations")) as other:
        done = await asyncio.gather(
            migrate(session, [FIRST, SECOND]), migrate(other, [FIRST, SECOND])
        )
    assert sorted(map(list, done)) == [[], ["0001_first.sql", "0002_second.sql"]]


async def test_a_migration_does_not_queue_for_a_lock(
    servers: SharedServers, session: Session
) -> None:
    """A migration that can't get its lock in time gives up, and can be run again."""
    await migrate(session, [FIRST])
    blocked = Migration.parse(
        "0002_blocked.sql", "-- migrate:up\nALTER TABLE first ADD COLUMN m integer;"
    )
    holder = await asyncpg.connect(servers.dsn("migrations"))
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE first IN ACCESS SHARE MODE")
            await session.execute("SET lock_timeout = '100ms'")
            with pytest.raises(StorageUnavailable):
                await migrate(session, [FIRST, blocked])
    finally:
        await holder.close()
    assert await migrate(session, [FIRST, blocked]) == ["0002_blocked.sql"]


async def test_a_deployment_is_written_once_and_checked_after(session: Session) -> None:
    """A shard's partitions start at genesis, and another deployment's configuration is refused."""
    await create_roles(session, PASSWORDS)
    await create_roles(session, PASSWORDS)
    await migrate(session, migrations_of_package())
    assert await read_deployment(session) is None
    shard = replace(
        DEPLOYMENT, shard=ShardRange(name="west", first_index=4, end_index=8), partition_count=12
    )
    assert await create_deployment(session, shard)
    assert not await create_deployment(session, shard)
    assert await read_deployment(session) == shard
    rows = await session.fetch("SELECT * FROM partition ORDER BY partition_index")
    assert [row["partition_index"] for row in rows] == [4, 5, 6, 7]
    assert {row["chain_hash"] for row in rows} == {GENESIS}
    assert {(row["epoch"], row["batch_seq"], row["owner"]) for row in rows} == {(0, 0, None)}
    for other in (
        replace(shard, deployment_id=UUID(int=2)),
        replace(shard, partition_count=16),
        replace(shard, shard=ShardRange(name="west", first_index=4, end_index=9)),
    ):
        with pytest.raises(DeploymentDiffers):
            await create_deployment(session, other)
    assert await read_deployment(session) == shard


async def test_a_frozen_owner_is_ended_between_two_statements(servers: SharedServers) -> None:
    """The owner's role has a transaction ended that stands idle for two seconds."""
    await copy_of_installed_books(servers, "role_settings")
    dsn = servers.dsn("role_settings", role="tally_owner", password=PASSWORDS.owner)
    async with opened(dsn) as owner:
        row = await owner.fetchrow("SHOW idle_in_transaction_session_timeout")
        assert row is not None
        assert row[0] == "2s"
