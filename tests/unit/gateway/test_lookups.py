"""When look-ups count as out of reach."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID, uuid4

import pytest

from gateway.lookups import (
    AWAY_AFTER_S,
    LOOKUP_CROWDED_KEYS,
    LOOKUPS_IN_FLIGHT_MAX,
    SILENT_AFTER_S,
    Lookups,
)
from runtime.faults import StorageUnavailable
from runtime.metrics import Metrics
from storage.lookup_keys import OrderLookup
from storage.read_ports import Stored, StoredOrder
from tests.contract.books_data import SampleOrder
from tests.fakes.fake_queries import FakeQueries
from tests.unit.gateway.ticking import TickingClock


class HeldUpQueries(FakeQueries):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()

    async def orders(self, keys: Sequence[tuple[int, UUID]]) -> Mapping[UUID, StoredOrder]:
        await self.may_answer.wait()
        return await super().orders(keys)


class CountingQueries(FakeQueries):
    """Notes how many orders each look-up asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    async def orders(self, keys: Sequence[tuple[int, UUID]]) -> Mapping[UUID, StoredOrder]:
        self.counts.append(len(keys))
        return await super().orders(keys)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_failures_without_a_success_count_after_a_second() -> None:
    """One lost connection is no outage."""
    queries, clock = FakeQueries(), TickingClock()
    lookups = Lookups(queries, clock=clock, metrics=Metrics())
    queries.is_available = False
    for _ in range(2):
        answer = lookups.ask(OrderLookup(0, uuid4()))
        await turns()
        assert isinstance(answer.exception(), StorageUnavailable)
        assert not lookups.is_away
        clock.pass_s(AWAY_AFTER_S / 2)
    assert lookups.is_away
    queries.is_available = True
    assert await lookups.find(OrderLookup(0, uuid4())) is None
    assert not lookups.is_away


async def test_silence_counts_after_two_seconds() -> None:
    """A server that stands still is away long before its connections time out."""
    queries, clock = HeldUpQueries(), TickingClock()
    lookups = Lookups(queries, clock=clock, metrics=Metrics())
    answer = lookups.ask(OrderLookup(0, uuid4()))
    await turns()
    clock.pass_s(SILENT_AFTER_S - 0.1)
    assert not lookups.is_away
    clock.pass_s(0.1)
    assert lookups.is_away
    queries.may_answer.set()
    assert await answer is None
    await turns()
    assert not lookups.is_away
    clock.pass_s(60)
    assert not lookups.is_away


async def test_a_reader_waits_for_so_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the books stand still a GET ends, as unable to tell."""
    monkeypatch.setattr("gateway.lookups.FIND_S_MAX", 0.01)
    lookups = Lookups(HeldUpQueries(), clock=TickingClock(), metrics=Metrics())
    with pytest.raises(StorageUnavailable, match="in time"):
        await lookups.find(OrderLookup(0, uuid4()))
    await lookups.close()


async def test_after_a_crowd_the_next_look_up_gathers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks within the pause is asked for together; one key alone makes nobody wait."""
    monkeypatch.setattr("gateway.lookups.LOOKUP_SPACING_S", 0.25)
    queries = CountingQueries()
    lookups = Lookups(queries, clock=TickingClock(), metrics=Metrics())
    await lookups.find(OrderLookup(0, uuid4()))
    await asyncio.gather(
        *(lookups.ask(OrderLookup(0, uuid4())) for _ in range(LOOKUP_CROWDED_KEYS))
    )
    assert queries.counts == [1, LOOKUP_CROWDED_KEYS]
    first = lookups.ask(OrderLookup(0, uuid4()))
    await turns()
    second = lookups.ask(OrderLookup(0, uuid4()))
    await turns()
    assert queries.counts == [1, LOOKUP_CROWDED_KEYS]
    assert await first is None
    assert await second is None
    await lookups.find(OrderLookup(0, uuid4()))
    assert queries.counts == [1, LOOKUP_CROWDED_KEYS, 2, 1]
    await lookups.close()


class PostedOrder:
    """Asks as a request does that posts an order."""

    is_lookup_wanted = True

    def __init__(self) -> None:
        self.told: list[Stored | None] = []

    def found(self, order: Stored | None) -> None:
        self.told.append(order)

    def not_found_out(self, fault: Exception, *, is_away: bool) -> None:
        raise AssertionError(fault)


async def test_of_posted_orders_only_known_ones_are_read() -> None:
    """Reading costs the books a multiple of telling that they hold none; both are told the same."""
    queries = CountingQueries()
    order = SampleOrder(merchant_no=1, seller_no=1, seller_id="slr_a", order_no=1).stored()
    queries.put(order)
    lookups = Lookups(queries, clock=TickingClock(), metrics=Metrics())
    posted = [PostedOrder() for _ in range(3)]
    for asker in posted[:2]:
        lookups.ask_for(OrderLookup(0, uuid4()), asker)
    await turns()
    assert queries.counts == []
    lookups.ask_for(OrderLookup(order.partition_index, order.order_uuid), posted[2])
    await turns()
    assert queries.counts == [1]
    assert [asker.told for asker in posted] == [[None], [None], [order]]
    unknown = OrderLookup(0, uuid4())
    known = OrderLookup(order.partition_index, order.order_uuid)
    assert await lookups.held([unknown, known]) == [order.order_uuid]
    assert queries.counts == [1]
    await lookups.close()


async def test_closing_starts_nothing_more() -> None:
    """A look-up that ends with the gateway does not start the next one, which nobody would wait for."""
    queries = HeldUpQueries()
    lookups = Lookups(queries, clock=TickingClock(), metrics=Metrics())
    answers = []
    for _ in range(LOOKUPS_IN_FLIGHT_MAX + 1):
        answers.append(lookups.ask(OrderLookup(0, uuid4())))
        await turns()
    await lookups.close()
    await turns()
    assert not lookups._tasks
    assert answers[-1].cancelled()
