"""The dispatcher on fakes: what is delivered, tried again, given up, and what a crash loses (nothing)."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

import actors.dispatcher
from actors.dispatcher import Dispatcher
from actors.dispatcher_settings import LEAD_SILENT_S, DispatcherSettings
from actors.webhook_sending import TryError, TryResult
from payments.feed import EventKey, FeedPosition, before_transaction, event_id
from payments.lifecycle import PaymentEvent
from payments.mode import Mode
from runtime.metrics import Metrics
from storage.sealing import seal
from storage.webhook_ports import DeliveryState, EndpointStatus
from tests.fakes.fake_event_feed import FakeEventFeed
from tests.fakes.fake_webhooks import FakeDispatchStore, FakeWebhookBooks, FakeWebhooks
from tests.manual_clock import ManualClock

FINE = TryResult(200, None, 3)
AWAY = TryResult(None, TryError.CONNECT, 3)


class FakeReceivers:
    """Every receiver: what each got, and how it answers."""

    def __init__(self) -> None:
        self.got: defaultdict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self.answers: defaultdict[str, TryResult] = defaultdict(lambda: FINE)
        self.held: dict[str, asyncio.Event] = {}
        self.in_flight: Counter[str] = Counter()

    async def send(
        self, url: str, secrets: Sequence[bytes], webhook_id: str, body: bytes
    ) -> TryResult:
        self.got[url].append((webhook_id, body))
        self.in_flight[url] += 1
        try:
            if url in self.held:
                await self.held[url].wait()
            return self.answers[url]
        finally:
            self.in_flight[url] -= 1

    def ids(self, url: str) -> list[str]:
        return [webhook_id for webhook_id, _ in self.got[url]]


class World:
    """Books, receivers and the dispatchers that run on them."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.feed = FakeEventFeed()
        self.books = FakeWebhookBooks(self.feed, now=self.clock.now)
        self.webhooks = FakeWebhooks(self.books)
        self.receivers = FakeReceivers()
        self.order_no = 0

    async def endpoint(
        self, url: str, *, types: Sequence[str] = ("*",), merchant_no: int = 1
    ) -> int:
        created = await self.webhooks.create(
            merchant_no,
            Mode.TEST,
            url=url,
            types=types,
            sealed_secret=seal(b"s" * 32),
            count_max=100,
        )
        assert created is not None
        return created.endpoint_no

    def put(self, count: int = 1, **columns: object) -> list[str]:
        """Have so many events happen; return their ids."""
        ids = []
        for _ in range(count):
            self.order_no += 1
            key = EventKey(0, self.order_no, 1)
            body = b'{"id":"%b"}' % event_id(key).encode()
            self.feed.put(
                key,
                **{
                    "type": PaymentEvent.SUCCEEDED,
                    "created_at": self.clock.now(),
                    "body": body,
                    **columns,
                },
            )
            ids.append(event_id(key))
        return ids

    def dispatcher(
        self,
        store: FakeDispatchStore | None = None,
        name: str = "one",
        pause_after: timedelta = timedelta(hours=72),
        metrics: Metrics | None = None,
    ) -> Dispatcher:
        return Dispatcher(
            DispatcherSettings(name=name, drain_s=0.2, pause_after=pause_after),
            feed=self.feed,
            store=store or FakeDispatchStore(self.books),
            sender=self.receivers,
            clock=self.clock,
            metrics=metrics or Metrics(),
        )

    def states(self, endpoint_no: int) -> Counter[DeliveryState]:
        return Counter(
            one.state for key, one in self.books.deliveries.items() if key[0] == endpoint_no
        )


@asynccontextmanager
async def running(world: World, dispatcher: Dispatcher | None = None) -> AsyncIterator[Dispatcher]:
    """Run a dispatcher; it is stopped in good order at the end. Time passes by itself meanwhile."""
    dispatcher = dispatcher or world.dispatcher()
    task = asyncio.create_task(dispatcher.run())

    async def tick() -> None:
        while True:
            await asyncio.sleep(0.01)
            world.clock.advance(0.01)

    ticking = asyncio.create_task(tick())
    try:
        yield dispatcher
    finally:
        dispatcher.stop()
        async with asyncio.timeout(5):
            await task
        ticking.cancel()


async def eventually(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors.dispatcher, "BEAT_EVERY_S", 0.05)
    monkeypatch.setattr(actors.dispatcher, "DUE_EVERY_S", 0.02)
    monkeypatch.setattr(actors.dispatcher, "RECORD_EVERY_S", 0.01)
    monkeypatch.setattr(actors.dispatcher, "STORE_RETRY_S", 0.02)


async def test_every_endpoint_gets_what_it_asks_for() -> None:
    """Several endpoints of a merchant, each with its types; another merchant's gets nothing of it."""
    world = World()
    await world.endpoint("all")
    await world.endpoint("failures", types=["payment_order.failed"])
    await world.endpoint("others", merchant_no=2)
    async with running(world):
        good = world.put(3)
        bad = world.put(2, type=PaymentEvent.DECLINED)
        await eventually(lambda: len(world.receivers.ids("all")) == 5)
        await eventually(lambda: len(world.receivers.ids("failures")) == 2)
    assert set(world.receivers.ids("all")) == {*good, *bad}
    assert world.receivers.ids("failures") == bad
    assert world.receivers.ids("others") == []
    assert world.states(1) == {DeliveryState.DELIVERED: 5}


async def test_an_endpoint_gets_what_happens_after_it_was_made() -> None:
    """What was before is in the feed, and is not sent."""
    world = World()
    world.put(3)
    await world.endpoint("late")
    new = world.put(1)
    async with running(world):
        await eventually(lambda: world.receivers.ids("late") == new)


async def test_a_failed_delivery_is_tried_again_with_the_same_id_and_bytes() -> None:
    """The next try comes by the schedule, and tells the very same."""
    world = World()
    await world.endpoint("shaky")
    world.receivers.answers["shaky"] = AWAY
    (told,) = world.put(1)
    async with running(world):
        await eventually(lambda: world.states(1) == {DeliveryState.WAITING: 1})
        (delivery,) = world.books.deliveries.values()
        assert delivery.due_at is not None
        assert delivery.due_at - world.clock.now() <= timedelta(seconds=5)
        world.receivers.answers["shaky"] = FINE
        assert world.receivers.ids("shaky") == [told]
        world.clock.advance(5)
        await eventually(lambda: world.states(1) == {DeliveryState.DELIVERED: 1})
    first, second = world.receivers.got["shaky"]
    assert first == second
    (delivery,) = world.books.deliveries.values()
    assert (delivery.try_count, delivery.last_error) == (2, None)


async def test_a_delivery_is_given_up_after_its_last_try() -> None:
    """After ten tries it is a dead letter, which stays in the log and can be sent again."""
    world = World()
    number = await world.endpoint("dead")
    other = await world.endpoint("alive")
    world.receivers.answers["dead"] = TryResult(500, TryError.HTTP_STATUS, 3)
    world.put(1)
    position = FeedPosition(101, 0, 1, 1)
    async with running(world, world.dispatcher(pause_after=timedelta(days=30))):
        for tries in range(1, 11):
            await eventually(
                lambda tries=tries: (
                    (number, position) in world.books.deliveries
                    and world.books.deliveries[number, position].try_count == tries
                )
            )
            world.clock.advance(24 * 3_600 + 1)
        assert world.states(number) == {DeliveryState.DEAD: 1}
        assert len(world.receivers.ids("dead")) == 10
        world.receivers.answers["dead"] = FINE
        assert await world.webhooks.resend(number, position)
        await eventually(lambda: world.states(number) == {DeliveryState.DELIVERED: 1})
    assert world.states(other) == {DeliveryState.DELIVERED: 1}
    assert len(set(world.receivers.got["dead"])) == 1


async def test_a_slow_endpoint_delays_no_other() -> None:
    """While one holds all that it is sent, another one of the same merchant gets everything."""
    world = World()
    await world.endpoint("slow")
    await world.endpoint("quick")
    world.receivers.held["slow"] = asyncio.Event()
    async with running(world):
        world.put(600)
        await eventually(lambda: len(world.receivers.ids("quick")) == 600)
        assert len(world.receivers.ids("slow")) <= 32
        world.receivers.held["slow"].set()
        await eventually(lambda: len(set(world.receivers.ids("slow"))) == 600)


async def test_an_endpoint_that_says_gone_is_stopped() -> None:
    """410 ends it: nothing more is sent, and what it refused is set aside."""
    world = World()
    number = await world.endpoint("gone")
    world.receivers.answers["gone"] = TryResult(410, TryError.GONE, 3)
    metrics = Metrics()
    stopped = "tallystick_dispatcher_endpoints_stopped_total"
    async with running(world, world.dispatcher(metrics=metrics)):
        # An increase is seen only of what was there before.
        assert f'{stopped}{{status="gone"}} 0.0' in metrics.exposition().decode()
        world.put(1)
        await eventually(lambda: world.books.endpoints[number].status is EndpointStatus.GONE)
        world.put(3)
        await asyncio.sleep(0.2)
    assert f'{stopped}{{status="gone"}} 1.0' in metrics.exposition().decode()
    assert f'{stopped}{{status="paused"}} 0.0' in metrics.exposition().decode()
    assert len(world.receivers.ids("gone")) == 1
    assert world.states(number) == {DeliveryState.DEAD: 1}


async def test_a_deleted_endpoint_gets_nothing_more_of_what_waits() -> None:
    """Deleted while deliveries wait for their next try: no try is made, and others notice nothing."""
    world = World()
    number = await world.endpoint("away")
    await world.endpoint("fine")
    world.receivers.answers["away"] = AWAY
    ids = world.put(3)
    async with running(world):
        await eventually(lambda: world.states(number) == {DeliveryState.WAITING: 3})
        await world.webhooks.delete(1, Mode.TEST, number)
        # Within a beat it is known: until then one more try may be on its way.
        await asyncio.sleep(0.3)
        world.receivers.answers["away"] = FINE
        tried_count = len(world.receivers.ids("away"))
        world.clock.advance(24 * 3_600)
        ids += world.put(2)
        await eventually(lambda: world.receivers.ids("fine") == ids)
        await asyncio.sleep(0.2)
    assert len(world.receivers.ids("away")) == tried_count == 3


async def test_a_receiver_that_was_down_for_an_hour_gets_all_it_missed() -> None:
    """What happened meanwhile is delivered once it answers again: each event, under its own id."""
    world = World()
    number = await world.endpoint("away")
    world.receivers.answers["away"] = AWAY
    ids: list[str] = []
    async with running(world):
        for _ in range(12):
            ids += world.put(5)
            await asyncio.sleep(0.02)
            world.clock.advance(300)
        world.receivers.answers["away"] = FINE
        async with asyncio.timeout(10):
            # A try that was on its way is recorded late, and then waits its time, too.
            while world.states(number) != {DeliveryState.DELIVERED: 60}:
                world.clock.advance(600)
                await asyncio.sleep(0.01)
    assert set(world.receivers.ids("away")) == set(ids)


async def test_an_endpoint_that_never_answers_is_paused_and_loses_nothing() -> None:
    """After three days without a success nothing is sent, and once enabled it goes on where it stopped."""
    world = World()
    number = await world.endpoint("away")
    world.receivers.answers["away"] = AWAY
    ids = world.put(2)
    async with running(world):
        await eventually(lambda: world.states(number) == {DeliveryState.WAITING: 2})
        world.clock.advance(73 * 3_600)
        await eventually(lambda: world.books.endpoints[number].status is EndpointStatus.PAUSED)
        assert "no try has succeeded" in (world.books.endpoints[number].status_reason or "")
        ids += world.put(3)
        await asyncio.sleep(0.2)
        tried_count = len(world.receivers.ids("away"))
        world.clock.advance(24 * 3_600)
        await asyncio.sleep(0.2)
        assert len(world.receivers.ids("away")) == tried_count
        world.receivers.answers["away"] = FINE
        await world.webhooks.set_status(1, Mode.TEST, number, EndpointStatus.ENABLED, None)
        await eventually(lambda: world.states(number) == {DeliveryState.DELIVERED: 5})
    assert set(world.receivers.ids("away")) == set(ids)


async def test_a_last_try_that_pauses_its_endpoint_is_not_the_last() -> None:
    """The delivery that is tried for the tenth time as its endpoint is paused waits with the others."""
    world = World()
    number = await world.endpoint("away")
    world.receivers.answers["away"] = AWAY
    world.put(1)
    position = FeedPosition(101, 0, 1, 1)
    async with running(world):
        for tries, pause_s in enumerate((5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000), 1):
            await eventually(
                lambda tries=tries: (
                    len(world.receivers.ids("away")) == tries
                    and (number, position) in world.books.deliveries
                    and world.books.deliveries[number, position].try_count == tries
                )
            )
            world.clock.advance(pause_s)
        await eventually(lambda: len(world.receivers.ids("away")) == 9)
        await eventually(lambda: world.books.deliveries[number, position].try_count == 9)
        world.clock.advance(24 * 3_600)
        await eventually(lambda: world.books.endpoints[number].status is EndpointStatus.PAUSED)
        assert world.states(number) == {DeliveryState.WAITING: 1}
        world.receivers.answers["away"] = FINE
        await world.webhooks.set_status(1, Mode.TEST, number, EndpointStatus.ENABLED, None)
        await eventually(lambda: world.states(number) == {DeliveryState.DELIVERED: 1})
    assert len(world.receivers.ids("away")) == 11


async def test_events_of_transactions_that_end_in_another_order_are_all_delivered() -> None:
    """One that began before and committed after its neighbours is not passed over."""
    world = World()
    await world.endpoint("all")
    async with running(world):
        slow, quick = world.feed.begin(), world.feed.begin()
        late = slow.write(EventKey(1, 1, 1), type=PaymentEvent.SUCCEEDED)
        early = quick.write(EventKey(2, 1, 1), type=PaymentEvent.SUCCEEDED)
        quick.commit()
        await asyncio.sleep(0.2)
        assert world.receivers.ids("all") == []
        slow.commit()
        await eventually(lambda: len(world.receivers.ids("all")) == 2)
    assert set(world.receivers.ids("all")) == {event_id(late.key), event_id(early.key)}


async def test_what_was_sent_and_not_recorded_is_sent_again_by_the_next() -> None:
    """A dispatcher that loses its session writes nothing more; its successor starts where the rows end."""
    world = World()
    number = await world.endpoint("all")
    store = FakeDispatchStore(world.books)
    world.receivers.held["all"] = asyncio.Event()
    ids = world.put(5)
    async with running(world, world.dispatcher(store)):
        await eventually(lambda: len(world.receivers.ids("all")) == 5)
        store.end_session()
        other = world.dispatcher(name="two")
        async with running(world, other):
            await eventually(lambda: world.books.lead is not None)
            world.receivers.held["all"].set()
            await eventually(lambda: world.states(number) == {DeliveryState.DELIVERED: 5})
    assert set(world.receivers.ids("all")) == set(ids)
    assert len(world.receivers.ids("all")) > 5


async def test_results_behind_the_place_are_not_sent_again() -> None:
    """After a restart only what has no row is sent: one slow delivery does not repeat those behind it."""
    world = World()
    number = await world.endpoint("all")
    ids = world.put(3)
    async with running(world):
        await eventually(lambda: world.states(number) == {DeliveryState.DELIVERED: 3})
    first = min(position for _, position in world.books.deliveries)
    world.books.places[number] = before_transaction(first.db_transaction)
    del world.books.deliveries[number, first]
    world.receivers.got.clear()
    async with running(world):
        await eventually(lambda: world.states(number) == {DeliveryState.DELIVERED: 3})
    assert world.receivers.ids("all") == ids[:1]


async def test_two_at_once_are_harmless() -> None:
    """The second waits for the first one's end, and then goes on."""
    world = World()
    number = await world.endpoint("all")
    async with running(world):
        world.put(2)
        await eventually(lambda: world.states(number) == {DeliveryState.DELIVERED: 2})
        async with running(world, world.dispatcher(name="two")):
            world.put(2)
            await eventually(lambda: world.states(number) == {DeliveryState.DELIVERED: 4})
            assert len(world.receivers.ids("all")) == 4


async def test_a_frozen_lead_is_ended_by_who_waits() -> None:
    """One who holds the lead and gives no sign of life loses its session, and its events are delivered."""
    world = World()
    number = await world.endpoint("all")
    frozen = FakeDispatchStore(world.books)
    assert await frozen.take_lead("frozen", None)
    world.put(1)
    async with running(world):
        await asyncio.sleep(0.1)
        assert world.receivers.ids("all") == []
        world.clock.advance(LEAD_SILENT_S + 1)
        await eventually(lambda: world.states(number) == {DeliveryState.DELIVERED: 1})


async def test_an_outage_of_the_books_loses_nothing() -> None:
    """While the books are away nothing is sent that could not be recorded; afterwards everything is."""
    world = World()
    number = await world.endpoint("all")
    store = FakeDispatchStore(world.books)
    async with running(world, world.dispatcher(store)):
        world.put(2)
        await eventually(lambda: world.states(number) == {DeliveryState.DELIVERED: 2})
        store.is_available = world.feed.is_available = False
        await asyncio.sleep(0.1)
        world.put(2)
        store.is_available = world.feed.is_available = True
        await eventually(lambda: world.states(number) == {DeliveryState.DELIVERED: 4})


async def test_a_stop_records_what_is_on_its_way() -> None:
    """What is answered during the drain is not sent again by the next dispatcher."""
    world = World()
    number = await world.endpoint("all")
    world.receivers.held["all"] = asyncio.Event()
    async with running(world) as dispatcher:
        world.put(3)
        await eventually(lambda: len(world.receivers.ids("all")) == 3)
        dispatcher.stop()
        await asyncio.sleep(0.05)
        world.receivers.held["all"].set()
    assert world.states(number) == {DeliveryState.DELIVERED: 3}


async def test_a_changed_secret_is_used_within_a_beat() -> None:
    """A rotation needs no restart: the next deliveries are signed with the new secret, too."""
    world = World()
    await world.endpoint("all")
    secrets_seen: list[Sequence[bytes]] = []
    send = world.receivers.send

    async def noting(url: str, secrets: Sequence[bytes], webhook_id: str, body: bytes) -> TryResult:
        secrets_seen.append(secrets)
        return await send(url, secrets, webhook_id, body)

    world.receivers.send = noting  # type: ignore[method-assign]
    async with running(world):
        world.put(1)
        await eventually(lambda: len(secrets_seen) == 1)
        await world.webhooks.rotate(1, Mode.TEST, 1, sealed_secret=seal(b"n" * 32), overlap_s=3_600)
        await asyncio.sleep(0.2)
        world.put(1)
        await eventually(lambda: len(secrets_seen) == 2)
    assert [len(secrets) for secrets in secrets_seen] == [1, 2]
    assert secrets_seen[1] == (b"n" * 32, b"s" * 32)


async def test_a_feed_that_cant_be_read_for_a_while_costs_no_lead() -> None:
    """Reading fails on sessions of its own: nothing on its way is cut off, and nothing is sent twice."""
    world = World()
    number = await world.endpoint("all")
    world.receivers.held["all"] = asyncio.Event()
    async with running(world):
        first = world.put(3)
        await eventually(lambda: len(world.receivers.ids("all")) == 3)
        world.feed.is_available = False
        await asyncio.sleep(0.1)
        second = world.put(2)
        world.receivers.held["all"].set()
        await eventually(lambda: world.states(number) == {DeliveryState.DELIVERED: 3})
        world.feed.is_available = True
        await eventually(lambda: world.states(number) == {DeliveryState.DELIVERED: 5})
    assert sorted(world.receivers.ids("all")) == sorted(first + second)
