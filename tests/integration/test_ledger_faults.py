"""The ledger's promises under faults that only real servers can have."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from payments.state import PartitionState
from runtime.faults import StorageUnavailable
from storage.connections import INDEX_LOOPS, Connector, is_server_marked
from storage.ledger import PostgresLedger
from storage.ownership import PostgresOwnership
from storage.ports import CommitUnknown, LaneReplaced
from storage.sessions import ANSWER_TIMEOUT_S
from storage.sql_files import load_statements
from tests.books import PASSWORDS, copy_of_installed_books
from tests.contract.shards import Host, PostgresShard
from tests.servers import SharedServers

ROOT = Path(__file__).parents[2]
DATABASE = "ledger_faults"
# A takeover's own time, on a machine that may be busy with other tests.
TAKEOVER_S_MAX = 3.0


@pytest.fixture
async def shard(servers: SharedServers) -> AsyncIterator[PostgresShard]:
    """New books for each test."""
    admin_dsn = await copy_of_installed_books(servers, DATABASE)
    shard = PostgresShard(owner_dsn(servers), admin_dsn)
    yield shard
    await shard.close()


def owner_dsn(servers: SharedServers) -> str:
    return servers.dsn(DATABASE, role="tally_owner", password=PASSWORDS.owner)


def lane_pid(host: Host) -> int:
    assert isinstance(host.ledger, PostgresLedger)
    backend = host.ledger.lanes[0].backend
    assert backend is not None
    return backend.pid


async def wal_receiver_pid(servers: SharedServers) -> int:
    """Return the standby's receiver, once it streams: after a long freeze it is started anew."""
    connection = await asyncpg.connect(servers.standby_dsn("postgres"))
    sql = "SELECT pid FROM pg_stat_wal_receiver WHERE status = 'streaming'"
    try:
        give_up_at_s = time.monotonic() + 10.0
        while (pid := await connection.fetchval(sql)) is None:
            assert time.monotonic() < give_up_at_s
            await asyncio.sleep(0.05)
        return int(pid)
    finally:
        await connection.close()


@asynccontextmanager
async def frozen_standby(servers: SharedServers) -> AsyncIterator[Callable[[], None]]:
    """Stop the standby from receiving; thawed by the function handed out, and at the end."""
    pid = await wal_receiver_pid(servers)
    os.kill(pid, signal.SIGSTOP)

    def thaw() -> None:
        # Frozen for longer than the primary waits for a receiver, it ends once thawed, and another
        # one is started in its place.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    try:
        yield thaw
    finally:
        thaw()


async def wait_until(condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    give_up_at_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_at_s
        await asyncio.sleep(0.02)


def waits_for_standby(servers: SharedServers, pid: int) -> bool:
    sql = f"SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}"
    return servers.query(sql).strip() == "SyncRep"


@pytest.mark.parametrize("point", ["flush_begun", "flush_before_commit"])
async def test_an_owner_frozen_in_a_flush_is_taken_over(
    servers: SharedServers, shard: PostgresShard, point: str
) -> None:
    """A frozen owner holds up nobody, and what it sends once thawed is refused."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.frozen_owner",
        owner_dsn(servers),
        "2",
        point,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        stat = Path(f"/proc/{child.pid}/stat")
        await wait_until(
            lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", timeout_s=30
        )
        host = shard.host()
        started_s = time.monotonic()
        writer = await host.writer(2)
        assert time.monotonic() - started_s < TAKEOVER_S_MAX
        assert (writer.head.epoch, writer.head.batch_seq) == (2, 0)
        await host.ledger.lanes[0].append(writer.take_in(2))
        os.kill(child.pid, signal.SIGCONT)
        output, _ = await asyncio.wait_for(child.communicate(), 30)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    # Ended while it stood before COMMIT: certain. Ended with COMMIT under way: it can't know.
    first = "CommitUnknown" if point == "flush_before_commit" else "StorageUnavailable"
    assert output.decode().split() == ["claimed", first, "LaneReplaced"]
    assert await shard.count("payment_order") == 2


async def test_a_commit_that_waits_for_the_standby_is_unknown_and_then_decided(
    servers: SharedServers, shard: PostgresShard
) -> None:
    """A COMMIT without an answer is neither written nor lost until a claim of one's own waited for it."""
    host = shard.host()
    writer = await host.writer(2)
    epoch_seen = writer.head.epoch
    await host.ledger.lanes[0].append(writer.take_in())
    async with frozen_standby(servers) as thaw:
        with pytest.raises(CommitUnknown) as unknown:
            await host.ledger.lanes[0].append(writer.take_in())
        assert unknown.value.partition_indexes == {2}
        # Not visible, and yet not lost: whoever reads now learns nothing.
        assert await shard.count("payment_order") == 1
        with pytest.raises(StorageUnavailable):
            await host.ownership.claim(
                partition_index=2,
                epoch_seen=epoch_seen,
                incarnation=host.incarnation,
                lane_index=0,
            )
        thaw()
        state = await host.claim(2)
    assert [record.order_no for record in state.open_orders] == [1, 2]
    assert (state.head.batch_seq, state.head.epoch) == (2, epoch_seen + 1)
    writer.head = state.head
    await host.ledger.lanes[0].append(writer.take_in())
    assert await shard.count("payment_order") == 3


async def test_a_claim_that_waits_for_the_standby_is_unknown_and_then_decided(
    servers: SharedServers, shard: PostgresShard
) -> None:
    """A claim without an answer is seen by nobody until it is decided; then it counts."""
    host = shard.host()
    await host.claim(1)  # connects

    async def claim_at_0() -> PartitionState | None:
        return await host.ownership.claim(
            partition_index=2, epoch_seen=0, incarnation=host.incarnation, lane_index=0
        )

    async with frozen_standby(servers) as thaw:
        with pytest.raises(CommitUnknown) as unknown:
            await claim_at_0()
        assert unknown.value.partition_indexes == {2}
        assert (await host.ownership.partitions())[2].epoch == 0
        thaw()
        # Waits behind the first one, and finds that it was faster.
        assert await claim_at_0() is None
    writer = await host.writer(2)
    assert writer.head.epoch == 2
    await host.ledger.lanes[0].append(writer.take_in())


async def test_a_cancelled_caller_does_not_cut_the_wait_for_the_standby_short(
    servers: SharedServers, shard: PostgresShard
) -> None:
    """When the caller of an append is cancelled during COMMIT, the server goes on waiting."""
    host = shard.host()
    writer = await host.writer(2)
    pid = lane_pid(host)
    async with frozen_standby(servers) as thaw:
        appending = asyncio.create_task(host.ledger.lanes[0].append(writer.take_in()))
        await wait_until(lambda: waits_for_standby(servers, pid))
        appending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await appending
        await asyncio.sleep(0.3)
        assert waits_for_standby(servers, pid)
        assert await shard.count("payment_order") == 0
        thaw()
        state = await host.claim(2)
    assert [record.order_no for record in state.open_orders] == [1]


async def test_a_wait_for_the_standby_cut_short_by_hand_is_unknown(
    servers: SharedServers, shard: PostgresShard
) -> None:
    """A commit that the server confirms with a warning is not taken for a durable one."""
    host = shard.host()
    writer = await host.writer(2)
    pid = lane_pid(host)
    async with frozen_standby(servers) as thaw:
        appending = asyncio.create_task(host.ledger.lanes[0].append(writer.take_in()))
        await wait_until(lambda: waits_for_standby(servers, pid))
        servers.query(f"SELECT pg_cancel_backend({pid})")
        with pytest.raises(CommitUnknown, match="canceling wait"):
            await appending
        thaw()
        state = await host.claim(2)
    assert [record.order_no for record in state.open_orders] == [1]


async def test_a_connection_lost_before_commit_wrote_nothing(
    servers: SharedServers, shard: PostgresShard
) -> None:
    """A flush whose connection ends before COMMIT is surely not written, and can be written again."""
    connector = Connector(owner_dsn(servers), application_name="host")
    pids: list[int] = []

    def end_backend(point: str) -> None:
        if point == "flush_begun" and pids:
            servers.query(f"SELECT pg_terminate_backend({pids.pop()}, 5000)")

    ledger = PostgresLedger(connector, lane_count=1, probe=end_backend)
    ownership = PostgresOwnership(connector, ledger)
    host = Host(ledger=ledger, ownership=ownership, incarnation=UUID(int=9))
    try:
        writer = await host.writer(1)
        pids.append(lane_pid(host))
        flush = writer.take_in()
        with pytest.raises(StorageUnavailable):
            await ledger.lanes[0].append(flush)
        assert await shard.count("payment_order") == 0
        with pytest.raises(LaneReplaced):
            await ledger.lanes[0].append(flush)
        writer.head = (await host.claim(1)).head
        await ledger.lanes[0].append(writer.take_in())
        assert await shard.count("payment_order") == 1
    finally:
        await ownership.close()
        await ledger.close()


async def test_a_server_that_stops_reading_is_given_up_in_time(
    servers: SharedServers, shard: PostgresShard
) -> None:
    """A flush stuck in the middle of a COPY, its buffers full, ends as unknown within its time."""
    host = shard.host()
    writer = await host.writer(2)
    pid = lane_pid(host)
    flush = writer.take_in(100)
    # More than the buffers on the way hold.
    flush.personal = [row._replace(envelope=bytes(200_000)) for row in flush.personal]
    os.kill(pid, signal.SIGSTOP)
    try:
        started_s = time.monotonic()
        with pytest.raises(CommitUnknown):
            await host.ledger.lanes[0].append(flush)
        assert time.monotonic() - started_s < ANSWER_TIMEOUT_S + 2.0
        # A backend that can't even end does not hold up the takeover: it has locked nothing yet.
        state = await host.claim(2)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (state.head.batch_seq, state.open_orders) == (0, [])
    writer.head = state.head
    await host.ledger.lanes[0].append(writer.take_in())
    assert await shard.count("payment_order") == 1


async def test_a_claim_ends_backends_that_hold_nothing_yet(
    servers: SharedServers, shard: PostgresShard
) -> None:
    """The recorded connection of the last owner is gone after a takeover, lock or no lock."""
    old, new = shard.host(), shard.host()
    await old.claim(4)
    pid = lane_pid(old)
    await new.claim(4)
    assert servers.query(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}").strip() == "0"


async def test_a_hand_over_ends_no_connection(servers: SharedServers, shard: PostgresShard) -> None:
    """A planned hand-over leaves the old owner's connection to its other partitions."""
    old, new = shard.host(), shard.host()
    await old.claim(4)
    pid = lane_pid(old)
    await old.ownership.hand_over(partition_indexes=[4], incarnation=old.incarnation)
    await new.claim(4)
    assert servers.query(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}").strip() == "1"


HISTORY = (
    "transfer",
    "transfer_h0",
    "payment_order",
    "order_outcome",
    "event",
    "attempt",
    "account",
    "personal_data",
)


async def test_an_owner_can_not_change_history(
    servers: SharedServers, shard: PostgresShard
) -> None:
    """The owner's role may add to what is money or history, never change or remove it."""
    statements = [
        statement
        for table in HISTORY
        for statement in (
            f"UPDATE {table} SET partition_index = 0",
            f"DELETE FROM {table}",
            f"TRUNCATE {table}",
            f"DROP TABLE {table}",
        )
    ]
    statements += ["UPDATE ledger_batch SET epochs = '{}'", "DELETE FROM ledger_batch"]
    connection = await asyncpg.connect(owner_dsn(servers))
    try:
        for statement in statements:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_reader_sees_no_secrets_and_no_personal_data(
    servers: SharedServers, shard: PostgresShard
) -> None:
    """The read-only role reads the books, and neither API keys nor personal data."""
    dsn = servers.dsn(DATABASE, role="tally_reader", password=PASSWORDS.reader)
    connection = await asyncpg.connect(dsn)
    try:
        assert await connection.fetchval("SELECT count(*) FROM transfer") == 0
        for table in ("api_key", "personal_data", "personal_data_h0", "dead_letter"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM {table}")
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("CREATE TEMPORARY TABLE mine (n integer)")
    finally:
        await connection.close()


async def test_a_server_start_is_marked_by_an_owner_alone(
    servers: SharedServers, shard: PostgresShard
) -> None:
    """A server may be read by gateways once an owner has marked its start, not before."""
    dsn = servers.dsn(DATABASE, role="tally_gateway", password=PASSWORDS.gateway)
    gateway = await Connector(dsn, application_name="gateway").open()
    try:
        assert not await is_server_marked(gateway)
        await shard.host().claim(0)
        assert await is_server_marked(gateway)
    finally:
        await gateway.close()


async def test_a_standby_is_never_opened_for_writing(
    servers: SharedServers, shard: PostgresShard
) -> None:
    """Of several hosts the primary is picked, wherever it stands in the list; a standby alone is refused."""
    primary, standby = owner_dsn(servers), servers.standby_dsn(DATABASE)
    primary_host = primary.rpartition("@")[2].partition("/")[0]
    standby_host = standby.rpartition("@")[2].partition("/")[0]
    both = primary.replace(primary_host, f"{standby_host},{primary_host}")
    session = await Connector(both, application_name="tests").open()
    try:
        row = await session.fetchrow("SELECT pg_is_in_recovery()")
        assert row is not None
        assert not row[0]
    finally:
        await session.close()
    with pytest.raises(StorageUnavailable):
        await Connector(primary.replace(primary_host, standby_host), application_name="x").open()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("flush.sql", "write_flush"),
        ("ledger.sql", "known_orders"),
        ("ledger.sql", "set_aside_orders"),
        ("ledger.sql", "account_heads"),
        ("ledger.sql", "due_timers"),
        ("flush.sql", "write_letters"),
        ("ledger.sql", "pending_actions"),
        ("ledger.sql", "pending_evidence"),
        ("flush.sql", "write_evidence_results"),
        ("ownership.sql", "open_orders"),
    ],
)
async def test_no_statement_reads_a_whole_table(
    servers: SharedServers, shard: PostgresShard, file: str, name: str
) -> None:
    """What runs in every flush and takeover goes by indexes, also when planned on empty tables."""
    session = await Connector(owner_dsn(servers), application_name="tests").open(INDEX_LOOPS)
    try:
        statement = load_statements(file)[name]
        # Prepared and forced to be generic: values bound to an EXPLAIN would be folded into its plan.
        await session.execute(f"PREPARE checked AS {statement}")
        nulls = ", ".join(["NULL"] * len(set(re.findall(r"\$\d+", statement))))
        execute = f"EXECUTE checked ({nulls})" if nulls else "EXECUTE checked"
        rows = await session.fetch(f"EXPLAIN {execute}")
    finally:
        await session.close()
    plan = [row[0] for row in rows]
    whole = [line for line in plan if "Seq Scan on" in line]
    assert not whole, "\n".join(plan)
    if name == "open_orders":
        # By its partition alone, a look-up would read all orders of the partition for each of them.
        conditions = [line for line in plan if "Index Cond" in line]
        assert conditions
        assert all("order_no" in line for line in conditions), "\n".join(plan)
