"""The second copy of each local store: always there, rebuilt when lost, never overwritten."""

from __future__ import annotations

import shutil

import pytest

from ops.local.faults import DataRefused
from ops.local.resp import ask
from tests.integration.stacks import (
    StartStores,
    get_key,
    living,
    on_standby,
    quiet,
    set_key,
)
from tests.servers import SharedServers


async def test_a_lost_standby_is_built_again(start_stores: StartStores) -> None:
    """With its data directory gone, the standby is copied anew from the primary."""
    stores = await start_stores()
    await stores.postgres.query("CREATE TABLE kept (n int)")
    await stores.stop()
    shutil.rmtree(stores.home.data / "postgres-2")

    stores = await start_stores()
    assert await on_standby(stores, "SELECT count(*) FROM kept") == "0"


async def test_a_standby_that_was_away_too_long_is_built_again(start_stores: StartStores) -> None:
    """WAL kept for an absent standby is bounded; beyond the bound it is copied anew."""
    stores = await start_stores()
    postgres = stores.postgres
    # Three segments of 16 MB: fewer could be outrun by the new copy itself.
    await postgres.query("ALTER SYSTEM SET max_slot_wal_keep_size = '48MB'")
    await postgres.query("SELECT pg_reload_conf()")
    await postgres.standby.stop()
    segments = "".join(
        f"CREATE TABLE filler_{number} (n int); SELECT pg_switch_wal();" for number in range(6)
    )
    await postgres.query(
        "SET synchronous_commit = local; CREATE TABLE kept AS SELECT 42 AS n;"
        f"{segments} CHECKPOINT;"
    )
    assert await postgres.query("SELECT wal_status FROM pg_replication_slots") == "lost"

    await stores.start(quiet)

    assert await postgres.query("SELECT wal_status FROM pg_replication_slots") == "reserved"
    assert await on_standby(stores, "SELECT n FROM kept") == "42"


async def test_a_lost_primary_is_never_replaced_by_an_empty_one(start_stores: StartStores) -> None:
    """Without the primary's data nothing starts, in Postgres and in Valkey, and the copies stay."""
    stores = await start_stores()
    await set_key(stores, "kept", "42")
    await stores.stop()
    data = stores.home.data

    (data / "valkey-1" / "appendonlydir" / "appendonly.aof.manifest").rename(data / "aside")
    with pytest.raises(DataRefused, match=r"appendonly\.aof\.manifest is missing"):
        await start_stores()
    (data / "aside").rename(data / "valkey-1" / "appendonlydir" / "appendonly.aof.manifest")

    (data / "postgres-1").rename(data / "aside")
    with pytest.raises(DataRefused, match="there is a standby but no primary"):
        await start_stores()
    (data / "aside").rename(data / "postgres-1")
    assert living(stores) == []

    stores = await start_stores()
    assert await get_key(stores, stores.valkey.replica.port, "kept") == "42"


async def test_either_node_can_lead(start_stores: StartStores) -> None:
    """After the roles were exchanged in the data, the next start follows them and loses nothing."""
    stores = await start_stores()
    await stores.postgres.query("CREATE TABLE kept AS SELECT 42 AS n")
    await set_key(stores, "kept", "42")
    await stores.stop()
    # In good order: the standby has every record of the stopped primary.
    (stores.home.data / "postgres-2" / "standby.signal").rename(
        stores.home.data / "postgres-1" / "standby.signal"
    )
    stores.valkey.record_primary(2)

    stores = await start_stores()
    assert stores.postgres.primary.name == "postgres_2"
    assert stores.valkey.primary.name == "valkey_2"
    assert await stores.postgres.query("SELECT n FROM kept") == "42"
    await stores.postgres.query("INSERT INTO kept VALUES (43)")
    slots = "SELECT count(*) FROM pg_replication_slots"
    assert await on_standby(stores, slots) == "0", "it would keep WAL for nobody"
    assert await get_key(stores, stores.valkey.replica.port, "kept") == "42"
    assert all(server.is_healthy for server in await stores.health())


def test_a_row_on_the_primary_is_on_the_standby(servers: SharedServers, database_dsn: str) -> None:
    """A commit returns only when the standby has it."""
    database = database_dsn.rpartition("/")[2]
    servers.query("CREATE TABLE copied AS SELECT 7 AS n", database=database)
    states = servers.query("SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'")
    assert states == "quorum"
    flushed = servers.query(
        "SELECT flush_lsn >= pg_current_wal_insert_lsn() FROM pg_stat_replication"
    )
    assert flushed == "t"


@pytest.mark.parametrize("is_replica", [False, True])
async def test_both_valkeys_fsync_each_write(
    servers: SharedServers, valkey_url: str, *, is_replica: bool
) -> None:
    """Primary and replica run with the settings on which an acknowledgement rests."""
    valkey = servers.stores.valkey
    node = valkey.replica if is_replica else valkey.primary
    names = ("appendonly", "appendfsync", "maxmemory-policy", "bind", "save")
    (reply,) = await ask(node.port, valkey.password, ("CONFIG", "GET", *names))
    assert isinstance(reply, list)
    assert dict(zip(reply[::2], reply[1::2], strict=True)) == {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "bind": "127.0.0.1",
        "save": "",
    }
