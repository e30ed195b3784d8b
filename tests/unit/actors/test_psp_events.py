"""A host on fakes takes PSPs' events from its streams, keeps each once, and lets them end what is unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from actors import event_telling, letter_desk
from payments.attempts import ResultClass
from payments.event_rows import EventVerdict
from payments.identity import order_uuid
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.partitioning import partition_index
from payments.psp_events import PspEvent, event_uuid
from payments.retry_policy import RetryRule, Strategy
from payments.rows import LetterResult
from storage.event_envelope import KIND_PSP_WEBHOOK, event_entry
from storage.letter_envelope import sealed_raw
from tests.fakes.fake_host import PARTITION_COUNT, QUICK, World
from tests.queue_commands import MERCHANT_ID

# Nobody asks for what is unknown while a test runs.
SILENT = replace(QUICK, unknown=RetryRule(strategy=Strategy.FIXED, first_ms=600_000))


@pytest.fixture(autouse=True)
def quick_desk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are looked for at once."""
    monkeypatch.setattr(letter_desk, "LOOK_EVERY_S", 0.01)


def an_event(
    world: World,
    order: UUID,
    event_id: str = "evt_a",
    *,
    result: ResultClass = ResultClass.APPROVED,
    captured_minor: int = 1999,
) -> PspEvent:
    return PspEvent(
        event_uuid=event_uuid("simulator", event_id),
        psp="simulator",
        event_id=event_id,
        order_uuid=order,
        attempt_no=1,
        result=result,
        reference=None,
        captured_minor=captured_minor if result is ResultClass.APPROVED else 0,
        currency="USD" if result is ResultClass.APPROVED else None,
        failure_code="declined",
        decline_code=None,
        message="",
        effective_at=None,
        accepted_at=world.clock.now(),
        reply_to="reply:gateway-0",
    )


async def send(world: World, *events: PspEvent) -> None:
    """Queue events as a gateway does."""
    for event in events:
        index = partition_index(event.order_uuid, PARTITION_COUNT)
        await world.gateway.append([event_entry(event, index)])


def results(world: World) -> dict[str, tuple[int, str]]:
    """What became of events, by the PSP's own id."""
    kept = world.books.psp_events
    return {
        kept.rows[key][0].event_id: (row.result, row.detail) for key, row in kept.results.items()
    }


def unknown_count(world: World) -> int:
    return sum(not row.is_outcome_known for row in world.books.open_orders.values())


class Told:
    """Stands in for the log: what a person is told."""

    def __init__(self) -> None:
        self.results: list[object] = []

    def error(self, event: str, **values: object) -> None:
        assert event == "psp_event_odd"
        self.results.append(values["result"])


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    stand_in = Told()
    monkeypatch.setattr(event_telling, "_log", stand_in)
    return stand_in


def queued_count(world: World) -> int:
    return sum(map(len, world.server.copy.streams.values()))


async def test_an_event_ends_what_no_psp_answers() -> None:
    """Charged settles, declined fails; each event is kept, removed from the stream, and its gateway told."""
    world = World(policy=SILENT)
    told: list[bytes] = []
    world.server.subscribers["reply:gateway-0"] = told.append
    async with world.running(world.host()):
        charged = await world.post(token="tok_charge_then_timeout")
        vanished = await world.post(token="tok_timeout_before")
        await world.until(lambda: unknown_count(world) == 2)
        declined = an_event(world, vanished, "evt_b", result=ResultClass.DECLINED_FINAL)
        await send(world, an_event(world, charged), declined)
        await world.until(lambda: len(results(world)) == 2)
        await world.until(lambda: queued_count(world) == 0)
    assert results(world) == {
        "evt_a": (EventVerdict.APPLIED, ""),
        "evt_b": (EventVerdict.APPLIED, ""),
    }
    assert world.status_of(charged) == PaymentState.SUCCEEDED
    assert world.status_of(vanished) == PaymentState.FAILED
    assert len(world.books.attempts) == 2
    assert told


async def test_an_event_and_the_calls_answer_agree_on_one_outcome() -> None:
    """The event comes while the call is on its way: the answer settles, the event agrees, money moves once."""
    world = World(policy=SILENT)
    async with world.running(world.host()):
        order = await world.post(token="tok_slow_100")
        await world.until(lambda: order in world.books.order_keys)
        await send(world, an_event(world, order))
        await world.until(lambda: bool(results(world)))
    assert results(world) == {"evt_a": (EventVerdict.AGREES, "")}
    assert world.status_of(order) == PaymentState.SUCCEEDED
    assert len({key for key in world.books.transfers if key[2] == 1}) == 1


async def test_a_repeated_event_counts_once_whoever_owns_its_partition() -> None:
    """The same event after its first record has expired, and after a takeover, changes nothing."""
    world = World(policy=SILENT)
    event_count = 0

    async def again() -> None:
        nonlocal event_count
        await send(world, event)
        event_count += 1
        await world.until(lambda: queued_count(world) == 0)

    async with world.running(world.host()):
        order = await world.post(token="tok_charge_then_timeout")
        await world.until(lambda: unknown_count(world) == 1)
        event = an_event(world, order)
        await again()
        await world.until(lambda: bool(results(world)))
        world.server.copy.records.clear()
        await again()
    async with world.running(world.host("host-1")):
        world.server.copy.records.clear()
        await again()
    assert event_count == 3
    assert len(world.books.psp_events.rows) == 1
    assert results(world) == {"evt_a": (EventVerdict.APPLIED, "")}
    assert not world.books.psp_events.waiting


async def test_an_event_before_its_order_waits_for_it() -> None:
    """It is kept, looked at again, and judged once the order is there and its call was answered."""
    world = World(policy=SILENT)
    key = uuid4()
    async with world.running(world.host()):
        order = order_uuid(MERCHANT_ID, Mode.TEST, key)
        await send(world, an_event(world, order))
        await world.until(lambda: len(world.books.psp_events.waiting) == 1)
        await world.until(lambda: queued_count(world) == 0)
        assert await world.post(key=key) == order
        await world.until(lambda: bool(results(world)))
    assert results(world) == {"evt_a": (EventVerdict.AGREES, "")}


async def test_an_event_whose_order_never_comes_is_given_up(
    monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    """It ends as unmatched, with its reason, and whoever reads the log is told."""
    monkeypatch.setattr(letter_desk, "EVENT_WAIT_S_MAX", 0.05)
    world = World()
    async with world.running(world.host()):
        await send(world, an_event(world, uuid4()))
        await world.until(lambda: bool(told.results))
    assert results(world) == {"evt_a": (EventVerdict.UNMATCHED, "no order of ours has its key")}
    assert told.results == ["unmatched"]


async def test_a_late_processing_never_undoes_a_success() -> None:
    """What tells no end is ignored at once, before and after the order's end."""
    world = World(policy=SILENT)
    async with world.running(world.host()):
        order = await world.post(token="tok_charge_then_timeout")
        await world.until(lambda: unknown_count(world) == 1)
        late = an_event(world, order, "evt_late", result=ResultClass.UNKNOWN)
        await send(world, an_event(world, order), late)
        await world.until(lambda: len(results(world)) == 2)
    assert results(world)["evt_late"][0] == EventVerdict.IGNORED
    assert world.status_of(order) == PaymentState.SUCCEEDED


async def test_other_money_is_told_and_settles_nothing(told: Told) -> None:
    """The order stays unknown, and the contradiction is logged."""
    world = World(policy=SILENT)
    async with world.running(world.host()):
        order = await world.post(token="tok_charge_then_timeout")
        await world.until(lambda: unknown_count(world) == 1)
        await send(world, an_event(world, order, captured_minor=1))
        await world.until(lambda: bool(told.results))
    assert results(world)["evt_a"][0] == EventVerdict.CONTRADICTS
    assert world.status_of(order) is None
    assert told.results == ["contradicts"]


async def test_an_event_waits_while_a_call_could_still_charge() -> None:
    """Between two tries of an unknown order the event counts; during one it does not."""
    world = World(policy=SILENT)
    host = world.host()
    async with world.running(host):
        order = await world.post(token="tok_timeout_before")
        await world.until(lambda: unknown_count(world) == 1)
        key = world.books.order_keys[order]
        host.calls._busy.add(key)
        await send(world, an_event(world, order, result=ResultClass.DECLINED_FINAL))
        await world.until(lambda: len(world.books.psp_events.waiting) == 1)
        await asyncio.sleep(0.1)
        assert results(world) == {}
        host.calls.done(*key)
        await world.until(lambda: bool(results(world)))
    assert results(world) == {"evt_a": (EventVerdict.APPLIED, "")}


async def test_a_successor_finds_what_was_kept() -> None:
    """An event that its owner kept and died with is judged by the next owner."""
    world = World(policy=SILENT)
    first = world.host()
    async with world.running(first):
        order = await world.post(token="tok_timeout_before")
        await world.until(lambda: unknown_count(world) == 1)
        first.calls._busy.add(world.books.order_keys[order])
        await send(world, an_event(world, order, result=ResultClass.DECLINED_FINAL))
        await world.until(lambda: len(world.books.psp_events.waiting) == 1)
    async with world.running(world.host("host-1")):
        await world.until(lambda: bool(results(world)))
    assert world.status_of(order) == PaymentState.FAILED


def damaged(raw: Sequence[bytes]) -> tuple[bytes, ...]:
    return (*raw[:-1], b"\xc1")


async def test_a_damaged_event_is_a_dead_letter_and_can_be_replayed() -> None:
    """It is set aside alone, stands for no order, and a replay of one that can be read takes it in."""
    world = World(policy=SILENT)
    letters = world.books.letters
    event = an_event(world, uuid4())
    index = partition_index(event.order_uuid, PARTITION_COUNT)
    entry = event_entry(event, index)
    async with world.running(world.host()):
        await world.gateway.append([entry._replace(fields=damaged(entry.fields))])
        await world.until(lambda: len(letters.rows) == 1)
        assert letters.rows[0].reason == "payload_malformed"
        assert not letters.rows[0].is_order
        assert entry.fields[1] == KIND_PSP_WEBHOOK
        refused = letters.want(1, is_replay=True)
        await world.until(lambda: refused in letters.results)
        assert letters.results[refused].detail.startswith("payload_malformed")
        # As a release that can read it would see it.
        mended = sealed_raw(entry.fields)
        letters.rows[0] = letters.rows[0]._replace(raw_envelope=mended)
        replayed = letters.want(1, is_replay=True)
        await world.until(lambda: replayed in letters.results)
    assert letters.results[replayed].result == LetterResult.REPLAYED
    assert [row.event_id for row, _ in world.books.psp_events.rows.values()] == ["evt_a"]


async def test_an_event_that_is_read_again_costs_no_flush() -> None:
    """What was not removed in time comes again: its owner knows what it wrote, and has nothing to write."""
    world = World(policy=SILENT)
    host = world.host()
    async with world.running(host):
        order = await world.post()
        await world.until(lambda: world.status_of(order) == PaymentState.SUCCEEDED)
        event = an_event(world, order)
        await send(world, event)
        await world.until(lambda: results(world) != {})
        before = sum(held.head.batch_seq for held in world.books.partitions.values())
        for _ in range(5):
            world.server.copy.records.clear()
            await send(world, event)
            await world.until(lambda: not queued_count(world))
        after = sum(held.head.batch_seq for held in world.books.partitions.values())
    assert after == before
    assert list(results(world)) == ["evt_a"]
