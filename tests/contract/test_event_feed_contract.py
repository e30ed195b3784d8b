"""What the feed promises, above all that it passes over nothing: the fake and Postgres alike."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

from payments.feed import FEED_START, EventKey, FeedPosition
from payments.lifecycle import PaymentEvent
from payments.mode import Mode
from storage.event_feed import FeedPage, FeedQuery
from storage.feed_times import transaction_bounds
from tests.contract.feed_books import FeedBooks, books

__all__ = ["books"]


async def page(
    books: FeedBooks, after: FeedPosition = FEED_START, *, count_max: int = 100
) -> FeedPage:
    query = FeedQuery(books.merchant_no, Mode.TEST, after, count_max)
    (found,) = await books.feed.pages([query])
    return found


def places(found: FeedPage) -> list[FeedPosition]:
    return [entry.position for entry in found.entries]


async def put(books: FeedBooks, count: int = 1) -> list[FeedPosition]:
    transaction = await books.begin()
    written = [await transaction.write() for _ in range(count)]
    await transaction.commit()
    return written


async def test_the_feed_is_walked_in_its_order(books: FeedBooks) -> None:
    """Page after page shows every event once, also several of one transaction, and ends at the last."""
    written = [*await put(books, 3), *await put(books, 2), *await put(books, 1)]
    seen: list[FeedPosition] = []
    after = FEED_START
    for _ in range(3):
        found = await page(books, after, count_max=2)
        assert found.is_full
        seen += places(found)
        after = found.reached
    assert seen == sorted(written)
    last = await page(books, after, count_max=2)
    assert (last.entries, last.is_full) == ([], False)
    assert last.reached == after == max(written)


async def test_a_cursor_passes_no_transaction_that_left_no_event(books: FeedBooks) -> None:
    """What is not on the standby yet may have its number given anew after a promotion: perhaps to an event."""
    start = await page(books)
    assert (start.entries, start.reached) == ([], FEED_START)
    assert await books.feed.newest(books.merchant_no, Mode.TEST) == FEED_START
    written = await put(books, 2)
    for _ in range(3):
        await (await books.begin()).commit()
    assert (await page(books)).reached == max(written)
    assert (await page(books, max(written))).reached == max(written)
    assert await books.feed.newest(books.merchant_no, Mode.TEST) == max(written)
    assert await books.feed.newest(books.merchant_no, Mode.LIVE) == FEED_START


async def test_an_entry_tells_its_event(books: FeedBooks) -> None:
    """Each place comes with the type of its event, and when it was written."""
    (place,) = await put(books)
    (entry,) = (await page(books)).entries
    assert (entry.position, entry.type) == (place, PaymentEvent.CREATED)
    event = (await books.feed.events([place.key]))[place.key]
    assert event.created_at == entry.created_at
    assert (event.merchant_no, event.mode) == (books.merchant_no, Mode.TEST)
    assert event.type == PaymentEvent.CREATED


async def test_pages_of_several_are_of_one_moment(books: FeedBooks) -> None:
    """One question for many endpoints: each gets its merchant's, behind its own place, up to its own count."""
    other_no = await books.add_merchant()
    transaction = await books.begin()
    mine = [await transaction.write() for _ in range(3)]
    others = await transaction.write(merchant_no=other_no)
    live = await transaction.write(mode=Mode.LIVE)
    await transaction.commit()
    start = before = min(mine)._replace(sequence=0)
    found = await books.feed.pages(
        [
            FeedQuery(books.merchant_no, Mode.TEST, before, 2),
            FeedQuery(other_no, Mode.TEST, start, 10),
            FeedQuery(books.merchant_no, Mode.LIVE, start, 10),
            FeedQuery(books.merchant_no, Mode.TEST, sorted(mine)[1], 10),
            FeedQuery(other_no, Mode.LIVE, start, 10),
        ]
    )
    assert [places(one) for one in found] == [
        sorted(mine)[:2],
        [others],
        [live],
        sorted(mine)[2:],
        [],
    ]
    assert await books.feed.pages([]) == []


async def test_nothing_is_shown_from_the_oldest_running_transaction_on(books: FeedBooks) -> None:
    """What began before and commits after its neighbours comes up before them, and nobody has passed it."""
    (first,) = await put(books)
    slow = await books.begin()
    held_back = await slow.write()
    (after,) = await put(books)
    found = await page(books, first._replace(sequence=0))
    assert places(found) == [first]
    horizon, is_held = await books.feed.horizon_held()
    assert is_held
    assert found.reached <= horizon <= held_back
    assert await books.feed.newest(books.merchant_no, Mode.TEST) == first
    await slow.commit()
    rest = await page(books, found.reached)
    assert places(rest) == [held_back, after]


async def test_parallel_commits_are_never_skipped(books: FeedBooks) -> None:
    """Transactions that begin and end in any order: who reads all the while sees each event exactly once."""
    draw = random.Random(7)
    written: list[FeedPosition] = []
    seen: list[FeedPosition] = []
    after = (await page(books)).reached
    is_over = asyncio.Event()

    async def write(count: int) -> None:
        for _ in range(count):
            transaction = await books.begin()
            await asyncio.sleep(draw.random() * 0.01)
            written.append(await transaction.write())
            await asyncio.sleep(draw.random() * 0.01)
            await transaction.commit()

    async def read() -> None:
        nonlocal after
        while True:
            is_last = is_over.is_set()
            found = await page(books, after, count_max=3)
            seen.extend(places(found))
            after = found.reached
            if is_last and not found.is_full:
                return
            await asyncio.sleep(0.001)

    reading = asyncio.create_task(read())
    await asyncio.gather(*(write(8) for _ in range(6)))
    is_over.set()
    await asyncio.wait_for(reading, 30)
    assert seen == sorted(written)


async def test_unknown_events_are_left_out(books: FeedBooks) -> None:
    """An identity that leads to nothing has no event; a key may be named twice."""
    (place,) = await put(books)
    strange = EventKey(place.partition_index, place.order_no, 7)
    found = await books.feed.events([place.key, place.key, strange])
    assert list(found) == [place.key]
    assert await books.feed.events([]) == {}


async def test_a_time_leads_to_its_place(books: FeedBooks) -> None:
    """By halving: the bounds of a time hold the events of that time, and none of far away."""
    written = await put(books, 2)
    (entry, _) = (await page(books, min(written)._replace(sequence=0))).entries
    at = entry.created_at
    first, end = await transaction_bounds(
        books.feed,
        books.merchant_no,
        Mode.TEST,
        at - timedelta(minutes=1),
        at + timedelta(minutes=1),
    )
    assert first <= min(written).db_transaction < end
    long_ago = await transaction_bounds(
        books.feed, books.merchant_no, Mode.TEST, at - timedelta(days=2), at - timedelta(days=1)
    )
    assert long_ago[1] <= min(written).db_transaction
    to_come = await transaction_bounds(
        books.feed, books.merchant_no, Mode.TEST, at + timedelta(days=1), at + timedelta(days=2)
    )
    assert to_come[0] > max(written).db_transaction
