"""The read side's pool, the intents and the status on a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias
from uuid import uuid4

import asyncpg
import pytest

from payments.defects import InvariantViolation
from payments.mode import Mode
from runtime.faults import StorageUnavailable
from storage.intent import Intent, IntentStore
from storage.letters import ABOVE_ALL_LETTERS, PostgresLetters
from storage.listing import LIST_STATEMENT_MS_MAX, LIST_TRANSACTION
from storage.queries import PostgresQueries
from storage.read_pool import ReadPool
from storage.read_ports import PaymentFilter
from storage.status import (
    COUNT_TRANSACTION,
    OUTCOME_COUNT_MS_MAX,
    Decisions,
    ParkedCount,
    StatusQueries,
)
from storage.unparking import PostgresUnparking, RestingPayment
from tests.contract.books_data import (
    EndSample,
    OpenSample,
    RoleConnector,
    SampleOrder,
    create_books,
    insert_order,
)

pytestmark = pytest.mark.integration

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def connection(database_dsn: str) -> AsyncIterator[Connection]:
    await create_books(database_dsn)
    opened = await asyncpg.connect(database_dsn)
    await opened.execute(
        "TRUNCATE merchant, payment_order, attempt, open_order, order_outcome, dead_letter, psp_event, audit,"
        " intent, partition, host_lease RESTART IDENTITY CASCADE"
    )
    yield opened
    await opened.close()


@pytest.fixture
async def pool(database_dsn: str, connection: Connection) -> AsyncIterator[ReadPool]:
    opened = ReadPool(RoleConnector(database_dsn, "tally_gateway"), session_count_max=2)
    yield opened
    await opened.close()


async def _backend_count(connection: Connection) -> int:
    count: int = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test of tally_gateway'"
    )
    return count


async def _add_seller(connection: Connection) -> None:
    """Give the empty books merchant 1 with seller 1."""
    await connection.execute(
        "INSERT INTO merchant (merchant_id, name) VALUES ('mrc_one', 'S');"
        " INSERT INTO seller (merchant_no, mode, seller_id, name, fee_basis_points)"
        " VALUES (1, 1, 'slr_s', 'S', 0)"
    )


async def test_a_session_is_used_again(pool: ReadPool, connection: Connection) -> None:
    """Reads one after another share one session, and many at once never take more than the bound."""
    for _ in range(3):
        await pool.fetch("SELECT 1")
    assert await _backend_count(connection) == 1
    rows = await asyncio.gather(*(pool.fetch("SELECT pg_sleep(0.02), 1 AS one") for _ in range(8)))
    assert [row[0]["one"] for row in rows] == [1] * 8
    assert await _backend_count(connection) == 2


async def test_killed_sessions_are_replaced(pool: ReadPool, connection: Connection) -> None:
    """Sessions that died while idle cost no read: the pool opens new ones."""
    await pool.fetch("SELECT 1")
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity"
        " WHERE application_name = 'test of tally_gateway'"
    )
    # The kernel has the goodbye by now; the loop reads it within a turn or two.
    await asyncio.sleep(0.05)
    assert (await pool.fetch("SELECT 2 AS two"))[0]["two"] == 2


async def test_a_canceled_read_gives_its_place_back(pool: ReadPool, connection: Connection) -> None:
    """A request that gives up frees its place at once, and its session is never used half-read."""
    reads = [asyncio.create_task(pool.fetch("SELECT pg_sleep(4)")) for _ in range(2)]
    await asyncio.sleep(0.3)
    assert await _backend_count(connection) == 2
    for read in reads:
        read.cancel()
    await asyncio.wait(reads)
    async with asyncio.timeout(2):
        assert (await pool.fetch("SELECT 3 AS three"))[0]["three"] == 3


async def test_nothing_is_read_from_a_server_that_is_not_marked(
    pool: ReadPool, connection: Connection
) -> None:
    """Until an owner has marked this start of the server, reads are refused, then they work."""
    await connection.execute("BEGIN; CREATE TABLE kept AS SELECT * FROM server_start")
    await connection.execute("TRUNCATE server_start; COMMIT")
    with pytest.raises(StorageUnavailable, match="marked"):
        await pool.fetch("SELECT 1")
    await connection.execute("INSERT INTO server_start SELECT * FROM kept; DROP TABLE kept")
    await pool.fetch("SELECT 1")


async def test_a_role_without_the_right_changes_nothing(pool: ReadPool) -> None:
    """The gateway's role can't touch the books, whatever its code would try."""
    for table in ("transfer", "slice", "payment_order", "order_outcome", "partition"):
        with pytest.raises(InvariantViolation, match="permission denied"):
            await pool.write(f"DELETE FROM {table}")


async def test_intents_are_kept_and_audited(pool: ReadPool, connection: Connection) -> None:
    """What the operator wants is read back as said last, and every word of it is in the audit."""
    store = IntentStore(pool)
    assert await store.read() == Intent()
    await store.set_host_count(2, actor="alice")
    await store.set_host_count(3, actor="bob")
    await store.set_drain("host-1", is_wanted=True, actor="bob")
    await store.set_drain("host-2", is_wanted=True, actor="bob")
    await store.set_drain("host-2", is_wanted=False, actor="bob")
    await store.set_pause(5, is_wanted=True, actor="bob")
    assert await store.read() == Intent(
        host_count=3, drains=frozenset({"host-1"}), pauses=frozenset({5})
    )
    rows = await connection.fetch(
        "SELECT actor, subject, detail->>'value' AS value FROM audit"
        " WHERE action = 'intent.set' ORDER BY audit_no"
    )
    assert [tuple(row) for row in rows] == [
        ("alice", "host_count", "2"),
        ("bob", "host_count", "3"),
        ("bob", "drain:host-1", "true"),
        ("bob", "drain:host-2", "true"),
        ("bob", "drain:host-2", "false"),
        ("bob", "pause:5", "true"),
    ]


async def test_status_tells_stores_hosts_and_counts(
    database_dsn: str, connection: Connection
) -> None:
    """The read-only role sees sizes, the standby's slot, who owns what, and how many orders stand where."""
    await _add_seller(connection)
    states: list[OpenSample | EndSample] = [OpenSample(), EndSample(), EndSample()]
    for order_no, state in enumerate(states, 1):
        sample = SampleOrder(
            merchant_no=1, seller_no=1, seller_id="slr_s", order_no=order_no, state=state
        )
        await insert_order(connection, sample)
    await connection.execute("UPDATE open_order SET parked_reason = 1")
    alive, gone = uuid4(), uuid4()
    for incarnation, released in ((alive, "NULL"), (gone, "now()")):
        await connection.execute(
            "INSERT INTO host_lease (incarnation, host_name, node, pid, counter, released_at)"
            f" VALUES ($1, 'host-1', 'node-1', 4711, 9, {released})",
            incarnation,
        )
    await connection.execute(
        "INSERT INTO partition (partition_index, owner, chain_hash)"
        " VALUES (7, $1, ''), (2, $1, ''), (3, NULL, '')",
        alive,
    )
    reader = ReadPool(RoleConnector(database_dsn, "tally_reader"), session_count_max=1)
    try:
        status = StatusQueries(reader)
        store = await status.store()
        [host] = await status.hosts()
        counts = await status.counts()
    finally:
        await reader.close()
    assert not store.is_standby
    assert store.database_bytes > 1_000_000
    assert store.synchronous_standby_names != ""
    assert [slot.is_active for slot in store.slots] == [True]
    [standby] = store.standbys
    assert (standby.application_name, standby.state) == ("standby1", "streaming")
    assert standby.flush_lag_bytes is not None
    assert standby.replay_lag_bytes is not None
    assert (host.incarnation, host.host_name, host.pid, host.counter) == (alive, "host-1", 4711, 9)
    assert list(host.partition_indexes) == [2, 7]
    assert host.age_s >= 0
    assert counts.open_by_status == {"processing": 1}
    assert counts.parked == [ParkedCount(psp="psp_1", reason="psp_down", order_count=1)]
    assert counts.ended_by_status == {"succeeded": 2}


async def test_no_role_of_ours_sees_more_of_standbys_than_their_lag(
    database_dsn: str, connection: Connection
) -> None:
    """Each role gets the lag from our function, and none of what only monitors may see."""
    del connection
    for role in ("tally_owner", "tally_gateway", "tally_reader"):
        pool = ReadPool(RoleConnector(database_dsn, role), session_count_max=1)
        try:
            [standby] = await StatusQueries(pool).standbys()
            assert standby.flush_lag_bytes is not None
            rows = await pool.fetch("SELECT state, flush_lsn FROM pg_stat_replication")
            assert [tuple(row) for row in rows] == [(None, None)]
        finally:
            await pool.close()


async def test_the_reader_counts_what_waits_for_a_person(
    database_dsn: str, pool: ReadPool, connection: Connection
) -> None:
    """Letters without a result or an action under way, and odd events of late, by the read-only role."""
    await connection.execute(
        "INSERT INTO dead_letter (partition_index, stream_id, reason, detail, raw_envelope)"
        " SELECT 0, n || '-0', 'payload_malformed', '', '' FROM generate_series(1, 4) AS n;"
        "INSERT INTO dead_letter_action (dead_letter_no, partition_index, action, actor, reason)"
        " SELECT n, 0, 1, 'tests', 'because' FROM generate_series(1, 3) AS n;"
        # The first was taken in, the second refused, the third is on its way.
        "INSERT INTO dead_letter_pending SELECT 0, action_no FROM dead_letter_action"
        " WHERE dead_letter_no = 3;"
        "INSERT INTO dead_letter_result"
        " (action_no, dead_letter_no, partition_index, batch_seq, result, detail)"
        " SELECT action_no, dead_letter_no, 0, 1, CASE dead_letter_no WHEN 1 THEN 1 ELSE 3 END, 'x'"
        " FROM dead_letter_action WHERE dead_letter_no < 3"
    )
    await connection.execute(
        "INSERT INTO psp_event (partition_index, event_uuid, psp, event_id, order_uuid, attempt_no,"
        " result, captured_minor, message, accepted_at)"
        " SELECT 0, lpad(n::text, 32, '0')::uuid, 'psp_1', 'evt_' || n, gen_random_uuid(), 1, 1, 5,"
        " '', now() FROM generate_series(1, 5) AS n;"
        "INSERT INTO psp_event_result"
        " (partition_index, event_uuid, batch_seq, result, detail, recorded_at)"
        " SELECT 0, lpad(n::text, 32, '0')::uuid, 1, (ARRAY[4, 4, 5, 2, 4])[n], '',"
        " now() - make_interval(days => (n / 5) * 8) FROM generate_series(1, 5) AS n"
    )
    reader = ReadPool(RoleConnector(database_dsn, "tally_reader"), session_count_max=1)
    try:
        decisions = await StatusQueries(reader).decisions()
    finally:
        await reader.close()
    assert decisions == Decisions(
        dead_letter_count=2, contradicting_event_count=2, unmatched_event_count=1
    )
    letters = await PostgresLetters(pool).page(below=ABOVE_ALL_LETTERS, state=None, count_max=9)
    assert [letter.refusal for letter in letters] == [None, None, "x", None]


async def test_a_payment_that_waits_for_psps_is_found_by_its_key(
    pool: ReadPool, connection: Connection
) -> None:
    """Unpark tells apart what is parked from what goes on by itself."""
    await _add_seller(connection)
    sample = SampleOrder(
        merchant_no=1, seller_no=1, seller_id="slr_s", order_no=1, state=OpenSample()
    )
    await insert_order(connection, sample)
    unparking = PostgresUnparking(pool)
    payment = await connection.fetchval("SELECT idempotency_key FROM payment_order")
    assert await unparking.resting(payment) == []
    await connection.execute("UPDATE open_order SET parked_reason = 1")
    assert await unparking.resting(payment) == [RestingPayment(psp="psp_1", reason="psp_down")]
    assert await unparking.resting(uuid4()) == []
    assert await unparking.parked(payment) == []


async def test_an_order_without_a_state_is_a_defect(pool: ReadPool, connection: Connection) -> None:
    """An order that neither runs nor has ended is reported, not shown as something it may not be."""
    sample = SampleOrder(merchant_no=1, seller_no=1, seller_id="slr_s", order_no=1)
    await _add_seller(connection)
    await insert_order(connection, sample)
    await connection.execute("DELETE FROM open_order")
    with pytest.raises(InvariantViolation, match="neither runs nor has ended"):
        await PostgresQueries(pool).orders([sample.key])


async def test_a_list_that_takes_too_long_is_ended(
    pool: ReadPool, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends a list at its bound, and the next one is served as ever."""
    shorter = LIST_TRANSACTION.replace(str(LIST_STATEMENT_MS_MAX), "50")
    monkeypatch.setattr("storage.queries.LIST_TRANSACTION", shorter)
    queries = PostgresQueries(pool)
    await connection.execute("BEGIN; LOCK TABLE payment_order IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(StorageUnavailable, match="statement timeout"):
        await queries.list_payments(1, Mode.TEST, PaymentFilter())
    await connection.execute("ROLLBACK")
    page = await queries.list_payments(1, Mode.TEST, PaymentFilter())
    assert list(page.orders) == []


async def test_outcomes_too_many_to_count_are_left_out(
    pool: ReadPool, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status answers in time with what it has; a count that takes too long is None, not a guess."""
    shorter = COUNT_TRANSACTION.replace(str(OUTCOME_COUNT_MS_MAX), "50")
    monkeypatch.setattr("storage.status.COUNT_TRANSACTION", shorter)
    await connection.execute("BEGIN; LOCK TABLE order_outcome IN ACCESS EXCLUSIVE MODE")
    assert (await StatusQueries(pool).counts()).ended_by_status is None
    await connection.execute("ROLLBACK")
    assert (await StatusQueries(pool).counts()).ended_by_status == {}
