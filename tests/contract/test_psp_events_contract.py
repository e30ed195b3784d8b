"""The contract of PSPs' events, kept by the fake, by the simulation's stores and by Postgres alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID, uuid4

import asyncpg
import pytest

from ops.commands.psp_events import document
from payments.attempts import ResultClass
from payments.event_rows import EventVerdict, PspEventResultRow, PspEventRow
from payments.lifecycle import PaymentState
from payments.psp_events import EndedOrder, EventFound, PspEvent, event_uuid
from storage import lane
from storage.connections import Connector
from storage.psp_events import OddState, PostgresPspEvents
from storage.read_pool import ReadPool
from tests.books import PASSWORDS, copy_of_installed_books
from tests.contract.books_data import ACCEPTED_AT
from tests.contract.shards import FakeShard, Host, PostgresShard, Shard, SimulatedShard
from tests.servers import SharedServers

DATABASE = "psp_events_contract"
LONG_S = 3_600.0


def an_event(
    order_uuid: UUID, event_id: str = "evt_a", *, attempt_no: int = 1, psp: str = "simulator"
) -> PspEvent:
    """The PSP says that an attempt was charged."""
    return PspEvent(
        event_uuid=event_uuid(psp, event_id),
        psp=psp,
        event_id=event_id,
        order_uuid=order_uuid,
        attempt_no=attempt_no,
        result=ResultClass.APPROVED,
        reference="ch_a",
        captured_minor=700,
        currency="EUR",
        failure_code="declined",
        decline_code=None,
        message="",
        effective_at=ACCEPTED_AT,
        accepted_at=ACCEPTED_AT,
    )


def a_result(
    event: PspEvent, result: EventVerdict = EventVerdict.AGREES, *, order_no: int | None = 1
) -> PspEventResultRow:
    return PspEventResultRow(1, event.event_uuid, 2, order_no, result, "")


def rows(*events: PspEvent) -> list[PspEventRow]:
    return [PspEventRow(1, *event[:-1]) for event in events]


async def due(
    host: Host, *, wait_s_max: float = LONG_S, count_max: int = 9
) -> Sequence[EventFound]:
    return await host.ledger.due_psp_events([1, 2], count_max=count_max, wait_s_max=wait_s_max)


@pytest.fixture(
    params=["fake", "simulated", pytest.param("postgres", marks=pytest.mark.integration)]
)
async def shard(request: pytest.FixtureRequest) -> AsyncIterator[Shard]:
    """New books for each test."""
    if request.param == "fake":
        yield FakeShard()
        return
    if request.param == "simulated":
        yield SimulatedShard()
        return
    servers: SharedServers = request.getfixturevalue("servers")
    admin_dsn = await copy_of_installed_books(servers, DATABASE)
    owner = servers.dsn(DATABASE, role="tally_owner", password=PASSWORDS.owner)
    postgres = PostgresShard(owner, admin_dsn)
    yield postgres
    await postgres.close()


async def test_an_event_waits_until_it_has_a_result(shard: Shard) -> None:
    """It is due at once, with what the books hold of its order, and no more once its result is written."""
    host = shard.host()
    writer = await host.writer(1)
    flush = writer.take_in(amount_minor=700)
    here, nowhere = an_event(writer.order_uuid(1)), an_event(UUID(int=7), "evt_b")
    flush.psp_events += rows(here, nowhere)
    await host.ledger.lanes[0].append(flush)
    assert await host.ledger.due_psp_events([2], count_max=9, wait_s_max=LONG_S) == []
    found = {each.event.event_id: each for each in await due(host)}
    assert found == {
        "evt_a": EventFound(1, here, 1, "simulator", None, False),
        "evt_b": EventFound(1, nowhere, None, None, None, False),
    }
    flush = writer.settle([1])
    # Offered twice, it may be judged twice in one flush.
    flush.psp_event_results += [a_result(here), a_result(here, EventVerdict.CONTRADICTS)]
    await host.ledger.lanes[0].append(flush)
    assert await shard.count("psp_event_result") == 1
    assert await shard.count("psp_event_pending") == 1
    await shard.pass_time(1_100)
    assert [each.event.event_id for each in await due(host)] == ["evt_b"]


async def test_an_event_is_kept_once(shard: Shard) -> None:
    """The same event again, in one flush or in later ones, changes nothing and brings nothing back."""
    host = shard.host()
    writer = await host.writer(1)
    flush = writer.take_in()
    event = an_event(writer.order_uuid(1))
    flush.psp_events += rows(event, event)
    await host.ledger.lanes[0].append(flush)
    flush = writer.take_in()
    flush.psp_event_results.append(a_result(event))
    await host.ledger.lanes[0].append(flush)
    flush = writer.take_in()
    flush.psp_events += rows(event._replace(captured_minor=1))
    await host.ledger.lanes[0].append(flush)
    assert await shard.count("psp_event") == 1
    assert await shard.count("psp_event_result") == 1
    assert await due(host) == []


async def test_an_event_with_a_result_never_waits(shard: Shard) -> None:
    """One that tells no end has its result in the flush that keeps it."""
    host = shard.host()
    writer = await host.writer(1)
    flush = writer.take_in()
    event = an_event(writer.order_uuid(1))._replace(result=ResultClass.REQUIRES_ACTION)
    flush.psp_events += rows(event)
    flush.psp_event_results.append(a_result(event, EventVerdict.IGNORED, order_no=None))
    await host.ledger.lanes[0].append(flush)
    assert await due(host) == []
    assert await shard.count("psp_event_pending") == 0


async def test_a_repetition_that_tells_no_end_takes_none_away(shard: Shard) -> None:
    """Under the name of an event that waits, or was judged, "processing" may follow: the first stands."""
    host = shard.host()
    writer = await host.writer(1)
    flush = writer.take_in()
    event = an_event(writer.order_uuid(1))
    flush.psp_events += rows(event)
    await host.ledger.lanes[0].append(flush)
    flush = writer.take_in()
    flush.psp_events += rows(event._replace(result=ResultClass.UNKNOWN))
    flush.psp_event_results.append(a_result(event, EventVerdict.IGNORED, order_no=None))
    await host.ledger.lanes[0].append(flush)
    assert await shard.count("psp_event_result") == 0
    assert [each.event for each in await due(host)] == [event]


async def test_what_was_looked_at_makes_room(shard: Shard) -> None:
    """An event that can't be judged yet comes again after a second, then two: others have their turn."""
    host = shard.host()
    writer = await host.writer(1)
    flush = writer.take_in()
    flush.psp_events += rows(*(an_event(UUID(int=n), f"evt_{n}") for n in (5, 6)))
    await host.ledger.lanes[0].append(flush)
    first = await due(host, count_max=1)
    second = await due(host, count_max=1)
    assert {first[0].event.event_id, second[0].event.event_id} == {"evt_5", "evt_6"}
    assert await due(host) == []
    await shard.pass_time(1_100)
    assert len(await due(host, wait_s_max=0.5)) == 2
    await shard.pass_time(1_100)
    assert await due(host) == []
    await shard.pass_time(1_100)
    assert [each.is_overdue for each in await due(host, wait_s_max=0.5)] == [True, True]


async def test_an_ended_order_is_told_with_its_end(shard: Shard) -> None:
    """What an event is held against is how its order ended, and where its attempt went."""
    host = shard.host()
    writer = await host.writer(1)
    await host.ledger.lanes[0].append(writer.take_in(amount_minor=700))
    flush = writer.settle([1])
    other = an_event(writer.order_uuid(1), "evt_c", attempt_no=2)
    flush.psp_events += rows(an_event(writer.order_uuid(1)), other)
    await host.ledger.lanes[0].append(flush)
    outcome = flush.outcomes[0]
    ended = EndedOrder(PaymentState.SUCCEEDED, 1, 700, "EUR", outcome.psp_reference)
    found = {each.event.event_id: each for each in await due(host)}
    assert (found["evt_a"].attempt_psp, found["evt_a"].ended) == ("simulator", ended)
    assert (found["evt_c"].attempt_psp, found["evt_c"].ended) == (None, ended)


async def test_what_waits_is_bounded(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """When as many events of a partition wait as may, a new one is set down as unmatched at once. Those
    whose orders never came leave room for those whose orders are here.
    """
    monkeypatch.setattr(lane, "PSP_EVENTS_WAITING_MAX", 2)
    if isinstance(shard, FakeShard):
        shard.books.psp_events.waiting_max = 2
    host = shard.host()
    writer = await host.writer(1)
    for number in (1, 2, 3):
        flush = writer.take_in()
        flush.psp_events += rows(an_event(UUID(int=number), f"evt_{number}"))
        await host.ledger.lanes[0].append(flush)
    assert await shard.count("psp_event") == 3
    assert await shard.count("psp_event_pending") == 2
    assert await shard.count("psp_event_result") == 1
    for number in (4, 5, 6):
        flush = writer.take_in()
        flush.psp_events += rows(an_event(writer.order_uuid(number), f"evt_{number}"))
        await host.ledger.lanes[0].append(flush)
    assert await shard.count("psp_event_pending") == 4
    assert await shard.count("psp_event_result") == 2


@pytest.mark.integration
async def test_what_hardly_ever_comes_is_looked_at_rarely(servers: SharedServers) -> None:
    """Orders are written before their calls: an event without one is left alone for minutes in the end."""
    admin_dsn = await copy_of_installed_books(servers, DATABASE)
    shard = PostgresShard(
        servers.dsn(DATABASE, role="tally_owner", password=PASSWORDS.owner), admin_dsn
    )
    try:
        host = shard.host()
        writer = await host.writer(1)
        flush = writer.take_in()
        flush.psp_events += rows(an_event(writer.order_uuid(1)), an_event(UUID(int=9), "evt_other"))
        await host.ledger.lanes[0].append(flush)
        await shard.ask("UPDATE psp_event_pending SET look_count = 10")
        assert len(await due(host)) == 2
        waits = await shard.ask(
            "SELECT event_id, round(extract(epoch FROM due_at - now()) / 4)::integer AS wait"
            " FROM psp_event_pending JOIN psp_event USING (partition_index, event_uuid)"
        )
        assert {row["event_id"]: row["wait"] for row in waits} == {"evt_a": 1, "evt_other": 225}
    finally:
        await shard.close()


@pytest.mark.integration
async def test_looking_at_events_holds_up_no_flush(servers: SharedServers) -> None:
    """It passes over what another flush is ending, and what intake asks for does not wait behind it."""
    admin_dsn = await copy_of_installed_books(servers, DATABASE)
    owner = servers.dsn(DATABASE, role="tally_owner", password=PASSWORDS.owner)
    shard = PostgresShard(owner, admin_dsn)
    connection = await asyncpg.connect(admin_dsn)
    try:
        host = shard.host()
        writer = await host.writer(1)
        flush = writer.take_in()
        event, other = an_event(writer.order_uuid(1)), an_event(UUID(int=9), "evt_other")
        flush.psp_events += rows(event, other)
        await host.ledger.lanes[0].append(flush)
        async with connection.transaction():
            ending = "DELETE FROM psp_event_pending WHERE event_uuid = $1"
            await connection.execute(ending, event.event_uuid)
            async with asyncio.timeout(3):
                assert [each.event for each in await due(host)] == [other]
        async with connection.transaction():
            await connection.execute("LOCK TABLE psp_event_pending")
            looking = asyncio.create_task(due(host))
            async with asyncio.timeout(3):
                known = await host.ledger.known_orders([(1, writer.order_uuid(1))])
            assert set(known.fingerprints) == {writer.order_uuid(1)}
            assert not looking.done()
        await looking
    finally:
        await connection.close()
        await shard.close()


@pytest.mark.integration
async def test_what_ended_an_order_is_audited(servers: SharedServers) -> None:
    """An event that ended an order leaves a row in the audit; nobody may change what it said."""
    admin_dsn = await copy_of_installed_books(servers, DATABASE)
    owner = servers.dsn(DATABASE, role="tally_owner", password=PASSWORDS.owner)
    shard = PostgresShard(owner, admin_dsn)
    try:
        host = shard.host()
        writer = await host.writer(1)
        flush = writer.take_in()
        event, other = an_event(writer.order_uuid(1)), an_event(UUID(int=9), "evt_other")
        flush.psp_events += rows(event, other)
        await host.ledger.lanes[0].append(flush)
        flush = writer.settle([1])
        flush.psp_event_results += [a_result(event, EventVerdict.APPLIED), a_result(other)]
        await host.ledger.lanes[0].append(flush)
        (audited,) = await shard.ask("SELECT actor, action, subject, detail FROM audit")
        assert tuple(audited)[:3] == ("psp simulator", "payment.psp_event", str(event.order_uuid))
        assert '"event_id": "evt_a"' in audited["detail"]
        connection = await asyncpg.connect(owner)
        try:
            for statement in ("UPDATE psp_event SET captured_minor = 1", "DELETE FROM psp_event"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        finally:
            await connection.close()
    finally:
        await shard.close()


@pytest.mark.integration
async def test_what_a_person_looks_at_is_listed(servers: SharedServers) -> None:
    """Contradictions, unmatched events and those that wait are listed, newest first, and no others."""
    admin_dsn = await copy_of_installed_books(servers, DATABASE)
    owner = servers.dsn(DATABASE, role="tally_owner", password=PASSWORDS.owner)
    reader = servers.dsn(DATABASE, role="tally_reader", password=PASSWORDS.reader)
    shard = PostgresShard(owner, admin_dsn)
    pool = ReadPool(Connector(reader, application_name="tests"), session_count_max=1)
    try:
        host = shard.host()
        writer = await host.writer(1)
        flush = writer.take_in()
        ids = ("evt_waits", "evt_agrees", "evt_contradicts", "evt_unmatched")
        orders = [writer.order_uuid(1)] * 3 + [uuid4()]
        events = [an_event(*named) for named in zip(orders, ids, strict=True)]
        flush.psp_events += rows(*events)
        await host.ledger.lanes[0].append(flush)
        flush = writer.take_in()
        verdicts = (EventVerdict.AGREES, EventVerdict.CONTRADICTS, EventVerdict.UNMATCHED)
        flush.psp_event_results += [
            a_result(event, verdict) for event, verdict in zip(events[1:], verdicts, strict=True)
        ]
        await host.ledger.lanes[0].append(flush)
        store = PostgresPspEvents(pool)
        listed = await store.odd(None, count_max=9)
        assert {(event.event_id, event.state) for event in listed} == {
            ("evt_waits", OddState.WAITING),
            ("evt_contradicts", OddState.CONTRADICTS),
            ("evt_unmatched", OddState.UNMATCHED),
        }
        for state in OddState:
            (one,) = await store.odd(state, count_max=9)
            assert one.state is state
        assert len(await store.odd(None, count_max=2)) == 2
        assert document(listed[0])["tells"] == "approved"
        keys = await pool.fetch("SELECT idempotency_key FROM payment_order")
        assert {event.event_id: event.payment_id for event in listed} == {
            "evt_waits": keys[0]["idempotency_key"],
            "evt_contradicts": keys[0]["idempotency_key"],
            "evt_unmatched": None,
        }
    finally:
        await pool.close()
        await shard.close()
