"""What gateways and the dispatcher keep of webhooks: the fakes and Postgres alike."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import asyncpg
import pytest

from payments.feed import FEED_START, FeedPosition
from payments.lifecycle import PaymentEvent
from payments.mode import Mode
from runtime.faults import StorageUnavailable
from storage.connections import Connector
from storage.dispatch_ports import (
    DispatchRecord,
    DispatchStore,
    MovedEndpoint,
    StoppedEndpoint,
    TriedDelivery,
)
from storage.dispatching import PostgresDispatchStore
from storage.event_feed import FEED_SETTINGS
from storage.read_pool import ReadPool
from storage.sealing import seal
from storage.webhook_ports import (
    ABOVE_ALL_DELIVERIES,
    ABOVE_ALL_ENDPOINTS,
    Delivery,
    DeliveryState,
    Endpoint,
    EndpointStatus,
    ResendRange,
    Webhooks,
)
from storage.webhooks import PostgresWebhooks
from tests.books import PASSWORDS
from tests.contract.books_data import RoleConnector, create_books
from tests.contract.read_books import PostgresBooks
from tests.fakes.fake_event_feed import FakeEventFeed
from tests.fakes.fake_webhooks import FakeDispatchStore, FakeWebhookBooks, FakeWebhooks

URL = "https://shop.example.org/hooks"
SECRET, OTHER, THIRD = b"a" * 32, b"b" * 32, b"c" * 32
ENDED = (DeliveryState.DELIVERED, DeliveryState.DEAD)


class Books(Protocol):
    """Both sides of one set of books."""

    merchant_no: int
    webhooks: Webhooks
    store: DispatchStore

    def another_store(self) -> DispatchStore: ...

    async def end_session(self) -> None:
        """Have the server end the store's session."""
        ...


class FakeSides:
    """In memory."""

    def __init__(self) -> None:
        self.merchant_no = 1
        self._books = FakeWebhookBooks(FakeEventFeed(), now=lambda: datetime.now().astimezone())
        self.webhooks: Webhooks = FakeWebhooks(self._books)
        self._store = FakeDispatchStore(self._books)
        self.store: DispatchStore = self._store

    def another_store(self) -> DispatchStore:
        return FakeDispatchStore(self._books)

    async def end_session(self) -> None:
        self._store.end_session()


class PostgresSides:
    """On Postgres, each under its role."""

    def __init__(self, dsn: str, merchant_no: int) -> None:
        self.merchant_no = merchant_no
        self._dsn = dsn
        self.pool = ReadPool(
            RoleConnector(dsn, "tally_gateway"), session_count_max=2, settings=FEED_SETTINGS
        )
        self.webhooks: Webhooks = PostgresWebhooks(self.pool)
        self.stores: list[DispatchStore] = []
        self.store = self.another_store()

    def another_store(self) -> DispatchStore:
        # A login of its own: only that may end another one's session.
        login = f"//tally_owner:{PASSWORDS.owner}@"
        dsn = re.sub(r"//[^@]*@", login, self._dsn)
        store = PostgresDispatchStore(Connector(dsn, application_name="test dispatcher"))
        self.stores.append(store)
        return store

    async def end_session(self) -> None:
        connection = await asyncpg.connect(self._dsn)
        await connection.fetch("SELECT pg_terminate_backend(backend_pid) FROM webhook_dispatcher")
        await connection.close()
        await asyncio.sleep(0.1)


@pytest.fixture(params=["fake", pytest.param("postgres", marks=pytest.mark.integration)])
async def books(request: pytest.FixtureRequest) -> AsyncIterator[Books]:
    if request.param == "fake":
        sides = FakeSides()
        assert await sides.store.take_lead("tests", None)
        yield sides
        return
    dsn = request.getfixturevalue("database_dsn")
    await create_books(dsn)
    connection = await asyncpg.connect(dsn)
    directory = PostgresBooks(connection, dsn)
    merchant_no, _ = await directory.add_merchant()
    postgres = PostgresSides(dsn, merchant_no)
    try:
        async with asyncio.timeout(5):
            while not await postgres.store.take_lead("tests", None):
                await asyncio.sleep(0.05)
        yield postgres
    finally:
        for store in postgres.stores:
            await store.close()
        await postgres.pool.close()
        await directory.pool.close()
        await connection.close()


async def create(
    books: Books, *, types: Sequence[str] = ("*",), count_max: int = 100
) -> Endpoint | None:
    return await books.webhooks.create(
        books.merchant_no,
        Mode.TEST,
        url=URL,
        types=types,
        sealed_secret=seal(SECRET),
        count_max=count_max,
    )


async def created(books: Books) -> Endpoint:
    endpoint = await create(books)
    assert endpoint is not None
    return endpoint


def place(number: int) -> FeedPosition:
    return FeedPosition(1_000 + number, 3, number, 2)


def tried(
    endpoint: Endpoint,
    number: int,
    *,
    state: DeliveryState = DeliveryState.DELIVERED,
    tries: int = 1,
    delay_s: float = 0.0,
    minutes: int = 0,
) -> TriedDelivery:
    is_delivered = state is DeliveryState.DELIVERED
    return TriedDelivery(
        endpoint_no=endpoint.endpoint_no,
        position=place(number),
        type=PaymentEvent.SUCCEEDED,
        event_created_at=endpoint.created_at - timedelta(minutes=minutes),
        state=state,
        round_try_count=tries,
        delay_s=delay_s,
        tried_at=endpoint.created_at,
        http_status=200 if is_delivered else None,
        error=None if is_delivered else "timeout",
        duration_ms=12,
    )


async def log(
    books: Books, endpoint: Endpoint, state: DeliveryState | None = None
) -> Sequence[Delivery]:
    return await books.webhooks.deliveries(
        endpoint.endpoint_no, below=ABOVE_ALL_DELIVERIES, state=state, count_max=100
    )


async def dispatched(books: Books, endpoint: Endpoint) -> object:
    """The endpoint as the dispatcher sees it."""
    found = {one.endpoint_no: one for one in await books.store.endpoints()}
    return found.get(endpoint.endpoint_no)


async def test_an_endpoint_is_kept_with_its_secret_and_its_place(books: Books) -> None:
    """What a gateway wrote is what the dispatcher reads: URL, types, secret, and a place to begin."""
    endpoint = await create(books, types=["payment_order.failed", "payment_order.*"])
    assert endpoint is not None
    assert (endpoint.url, endpoint.status) == (URL, EndpointStatus.ENABLED)
    assert (endpoint.secret_count, endpoint.secret_expires_at) == (1, None)
    seen = next(
        one for one in await books.store.endpoints() if one.endpoint_no == endpoint.endpoint_no
    )
    assert seen.secrets == (SECRET,)
    assert seen.types == ("payment_order.failed", "payment_order.*")
    assert (seen.merchant_no, seen.mode) == (books.merchant_no, Mode.TEST)
    assert seen.position > FEED_START
    assert seen.position.partition_index == -1


async def test_endpoints_are_bounded_also_at_once(books: Books) -> None:
    """Two requests at the same moment can't pass the limit together."""
    made = await asyncio.gather(*(create(books, count_max=3) for _ in range(6)))
    assert sum(one is not None for one in made) == 3
    assert await create(books, count_max=3) is None


async def test_lists_are_newest_first(books: Books) -> None:
    """Below a number, at most so many; other merchants and modes have their own."""
    endpoints = [await created(books) for _ in range(3)]
    numbers = [one.endpoint_no for one in reversed(endpoints)]
    page = await books.webhooks.endpoints(
        books.merchant_no, Mode.TEST, below=ABOVE_ALL_ENDPOINTS, count_max=2
    )
    assert [one.endpoint_no for one in page] == numbers[:2]
    rest = await books.webhooks.endpoints(
        books.merchant_no, Mode.TEST, below=numbers[1], count_max=2
    )
    assert [one.endpoint_no for one in rest] == numbers[2:]
    for merchant_no, mode in ((books.merchant_no, Mode.LIVE), (books.merchant_no + 1, Mode.TEST)):
        assert not await books.webhooks.endpoints(
            merchant_no, mode, below=ABOVE_ALL_ENDPOINTS, count_max=2
        )
        assert await books.webhooks.endpoint(merchant_no, mode, numbers[0]) is None


async def test_a_deleted_endpoint_is_nobodys(books: Books) -> None:
    """Neither gateway nor dispatcher sees it any more, and it is deleted once."""
    endpoint = await created(books)
    key = (books.merchant_no, Mode.TEST, endpoint.endpoint_no)
    assert await books.webhooks.delete(*key)
    assert not await books.webhooks.delete(*key)
    assert await books.webhooks.endpoint(*key) is None
    assert await dispatched(books, endpoint) is None
    assert not await books.webhooks.set_status(*key, EndpointStatus.ENABLED, None)
    assert not await books.webhooks.rotate(*key, sealed_secret=seal(OTHER), overlap_s=1)


async def test_two_secrets_are_valid_during_a_rotation(books: Books) -> None:
    """The newest first; a third one ends the first; without an overlap the one before ends at once."""
    endpoint = await created(books)
    key = (books.merchant_no, Mode.TEST, endpoint.endpoint_no)

    async def secrets() -> tuple[bytes, ...]:
        found = {one.endpoint_no: one for one in await books.store.endpoints()}
        return found[endpoint.endpoint_no].secrets

    assert await books.webhooks.rotate(*key, sealed_secret=seal(OTHER), overlap_s=60)
    assert await secrets() == (OTHER, SECRET)
    now = await books.webhooks.endpoint(*key)
    assert now is not None
    assert now.secret_count == 2
    assert now.secret_expires_at is not None
    assert await books.webhooks.rotate(*key, sealed_secret=seal(THIRD), overlap_s=60)
    assert await secrets() == (THIRD, OTHER)
    assert await books.webhooks.rotate(*key, sealed_secret=seal(SECRET), overlap_s=0)
    assert await secrets() == (SECRET,)


async def test_what_became_of_tries_is_the_log(books: Books) -> None:
    """First tries add rows, later ones change them; the log is newest first, and of one state if asked."""
    endpoint = await created(books)
    waiting = tried(endpoint, 2, state=DeliveryState.WAITING, delay_s=0.0)
    await books.store.record(
        DispatchRecord(tried=[tried(endpoint, 1), waiting, tried(endpoint, 3)])
    )
    newest, middle, oldest = await log(books, endpoint)
    assert [one.position for one in (newest, middle, oldest)] == [place(3), place(2), place(1)]
    assert (middle.state, middle.try_count, middle.last_error) == (
        DeliveryState.WAITING,
        1,
        "timeout",
    )
    assert middle.due_at is not None
    assert (oldest.state, oldest.last_http_status, oldest.due_at) == (
        DeliveryState.DELIVERED,
        200,
        None,
    )
    await books.store.record(DispatchRecord(tried=[tried(endpoint, 2, tries=2)]))
    (now,) = [one for one in await log(books, endpoint) if one.position == place(2)]
    assert (now.state, now.try_count, now.due_at) == (DeliveryState.DELIVERED, 2, None)
    assert now.first_try_at == middle.first_try_at
    assert await log(books, endpoint, DeliveryState.WAITING) == []
    page = await books.webhooks.deliveries(
        endpoint.endpoint_no, below=place(3), state=None, count_max=1
    )
    assert [one.position for one in page] == [place(2)]


async def test_only_what_is_due_is_read_and_the_oldest_first(books: Books) -> None:
    """Of each endpoint so many; what waits for later, and what has ended, is left alone."""
    one, other = await created(books), await created(books)
    waiting = DeliveryState.WAITING
    await books.store.record(
        DispatchRecord(tried=[tried(one, 1, state=waiting, tries=3), tried(one, 4)])
    )
    await asyncio.sleep(0.01)
    await books.store.record(
        DispatchRecord(
            tried=[
                tried(one, 2, state=waiting),
                tried(one, 3, state=waiting, delay_s=60.0),
                tried(other, 1, state=waiting),
            ]
        )
    )
    rooms = {one.endpoint_no: 5, other.endpoint_no: 5}
    due = await books.store.due(rooms)
    of_one = [found for found in due if found.endpoint_no == one.endpoint_no]
    assert [found.position for found in of_one] == [place(1), place(2)]
    assert of_one[0].round_try_count == 3
    assert len(due) == 3
    assert [found.position for found in await books.store.due({one.endpoint_no: 1})] == [place(1)]
    assert await books.store.due({}) == []
    counts = await books.store.waiting_counts([one.endpoint_no, other.endpoint_no], count_max=2)
    assert counts == {one.endpoint_no: 2, other.endpoint_no: 1}


async def test_a_resend_begins_anew(books: Books) -> None:
    """What has ended starts its schedule from the beginning, and is due now."""
    endpoint = await created(books)
    dead = tried(endpoint, 1, state=DeliveryState.DEAD, tries=10)
    later = tried(endpoint, 2, state=DeliveryState.WAITING, tries=4, delay_s=3_600.0)
    await books.store.record(DispatchRecord(tried=[dead, later]))
    assert await books.webhooks.resend(endpoint.endpoint_no, place(1))
    assert await books.webhooks.resend(endpoint.endpoint_no, place(2))
    assert not await books.webhooks.resend(endpoint.endpoint_no, place(3))
    due = await books.store.due({endpoint.endpoint_no: 5})
    assert {(one.position, one.round_try_count) for one in due} == {(place(1), 0), (place(2), 4)}


async def test_a_range_begins_anew_oldest_first(books: Books) -> None:
    """By the time of the events and by state, at most so many; what waits is not touched."""
    endpoint = await created(books)
    await books.store.record(
        DispatchRecord(
            tried=[
                tried(endpoint, 1, minutes=30),
                tried(endpoint, 2, minutes=20, state=DeliveryState.DEAD),
                tried(endpoint, 3, minutes=15, state=DeliveryState.WAITING, delay_s=60.0),
                tried(endpoint, 4, minutes=10),
                tried(endpoint, 5),
            ]
        )
    )

    async def resend(states: Sequence[DeliveryState], count_max: int = 10) -> int:
        return await books.webhooks.resend_range(
            endpoint.endpoint_no,
            ResendRange(
                created_from=endpoint.created_at - timedelta(minutes=25),
                created_to=endpoint.created_at - timedelta(minutes=5),
                transaction_first=place(1).db_transaction,
                transaction_end=place(9).db_transaction,
                states=states,
                count_max=count_max,
            ),
        )

    assert await resend([DeliveryState.DEAD]) == 1
    assert await resend(ENDED, count_max=1) == 1
    assert await resend(ENDED) == 0
    due = await books.store.due({endpoint.endpoint_no: 9})
    assert {one.position for one in due} == {place(2), place(4)}


async def test_a_place_is_written_with_its_rows(books: Books) -> None:
    """How far an endpoint is, since when it fails, and which rows stand behind its place."""
    endpoint = await created(books)
    number = endpoint.endpoint_no
    record = DispatchRecord(
        tried=[tried(endpoint, 1), tried(endpoint, 3)],
        moved=[MovedEndpoint(number, place(1), is_failing=True)],
    )
    await books.store.record(record)
    seen = {one.endpoint_no: one for one in await books.store.endpoints()}[number]
    assert seen.position == place(1)
    assert seen.failing_since is not None
    assert await books.store.recorded([number], count_max=9) == {number: {place(3)}}
    await books.store.record(
        DispatchRecord(moved=[MovedEndpoint(number, place(3), is_failing=True)])
    )
    again = {one.endpoint_no: one for one in await books.store.endpoints()}[number]
    assert again.failing_since == seen.failing_since
    assert await books.store.recorded([number], count_max=9) == {}
    await books.store.record(
        DispatchRecord(moved=[MovedEndpoint(number, place(3), is_failing=False)])
    )
    fine = {one.endpoint_no: one for one in await books.store.endpoints()}[number]
    assert fine.failing_since is None


async def test_a_stopped_endpoint_is_enabled_by_its_merchant(books: Books) -> None:
    """What the dispatcher stopped says why; enabling forgets how long it had failed."""
    endpoint = await created(books)
    number = endpoint.endpoint_no
    await books.store.record(
        DispatchRecord(
            moved=[MovedEndpoint(number, place(1), is_failing=True)],
            stopped=[StoppedEndpoint(number, EndpointStatus.PAUSED, "nothing succeeded")],
        )
    )
    key = (books.merchant_no, Mode.TEST, number)
    stopped = await books.webhooks.endpoint(*key)
    assert stopped is not None
    assert (stopped.status, stopped.status_reason) == (EndpointStatus.PAUSED, "nothing succeeded")
    assert stopped.failing_since is not None
    assert await books.webhooks.set_status(*key, EndpointStatus.ENABLED, None)
    enabled = await books.webhooks.endpoint(*key)
    assert enabled is not None
    assert (enabled.status, enabled.status_reason) == (EndpointStatus.ENABLED, None)
    assert enabled.failing_since is None


async def test_a_stop_that_comes_late_changes_nothing(books: Books) -> None:
    """An endpoint that its merchant has disabled meanwhile stays disabled."""
    endpoint = await created(books)
    key = (books.merchant_no, Mode.TEST, endpoint.endpoint_no)
    assert await books.webhooks.set_status(*key, EndpointStatus.DISABLED, None)
    await books.store.record(
        DispatchRecord(stopped=[StoppedEndpoint(endpoint.endpoint_no, EndpointStatus.GONE, "410")])
    )
    now = await books.webhooks.endpoint(*key)
    assert now is not None
    assert now.status is EndpointStatus.DISABLED


async def test_old_rows_are_forgotten_and_waiting_ones_are_not(books: Books) -> None:
    """Of events before a time, so many at once, the oldest first."""
    endpoint = await created(books)
    await books.store.record(
        DispatchRecord(
            tried=[
                tried(endpoint, 1, minutes=90),
                tried(endpoint, 2, minutes=80, state=DeliveryState.WAITING, delay_s=9.0),
                tried(endpoint, 3, minutes=70, state=DeliveryState.DEAD),
                tried(endpoint, 4),
            ]
        )
    )
    before = endpoint.created_at - timedelta(minutes=60)
    number = endpoint.endpoint_no
    assert await books.store.prune(number, before=before, count_max=1) == 1
    assert await books.store.prune(number, before=before, count_max=9) == 1
    assert await books.store.prune(number, before=before, count_max=9) == 0
    assert [one.position for one in await log(books, endpoint)] == [place(4), place(2)]


async def test_one_leads_and_who_lost_the_session_writes_nothing(books: Books) -> None:
    """A second store has no lead while the first one has it, and takes over once its session has ended."""
    other = books.another_store()
    assert not await other.take_lead("other", None)
    before = await other.last_beat()
    await books.store.beat(behind_s=0.0, held_up_s=0.0)
    beat = await other.last_beat()
    assert beat is not None
    assert beat != before
    await books.end_session()
    async with asyncio.timeout(5):
        while not await other.take_lead("other", None):
            await asyncio.sleep(0.05)
    with pytest.raises(StorageUnavailable):
        await books.store.beat(behind_s=0.0, held_up_s=0.0)
    await other.beat(behind_s=0.0, held_up_s=0.0)
    await other.close()


async def test_a_silent_lead_is_ended_by_its_last_beat(books: Books) -> None:
    """Who has beaten meanwhile keeps the lead; who has not loses it."""
    other = books.another_store()
    assert not await other.take_lead("other", None)
    beat = await other.last_beat()
    assert beat is not None
    await books.store.beat(behind_s=0.0, held_up_s=0.0)
    await other.end_silent(beat)
    assert not await other.take_lead("other", None)
    beat = await other.last_beat()
    assert beat is not None
    await other.end_silent(beat)
    async with asyncio.timeout(5):
        while not await other.take_lead("other", None):
            await asyncio.sleep(0.05)
    await other.close()
