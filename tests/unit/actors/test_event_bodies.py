"""Events' bytes in the dispatcher's memory: read once, and bounded by their number and by their bytes."""

from __future__ import annotations

import asyncio

import pytest

from actors import event_bodies
from actors.event_bodies import EventBodies
from payments.defects import InvariantViolation
from payments.feed import EventKey
from payments.lifecycle import PaymentEvent
from tests.fakes.fake_event_feed import FakeEventFeed


def put(feed: FakeEventFeed, number: int, size_bytes: int) -> EventKey:
    key = EventKey(0, number, 1)
    feed.put(key, type=PaymentEvent.CREATED, body=b"%d" % (number % 10) * size_bytes)
    return key


async def test_what_was_read_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second endpoint of the same merchant gets the bytes from memory, also while the books are away."""
    feed = FakeEventFeed()
    keys = [put(feed, number, 10) for number in range(3)]
    bodies = EventBodies(feed)
    first = await bodies.of(keys)
    feed.is_available = False
    assert await bodies.of(keys) == first == {key: b"%d" % key.order_no * 10 for key in keys}


async def test_large_events_don_t_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes all the metadata that there may be takes no more room than others do."""
    monkeypatch.setattr(event_bodies, "BODIES_KEPT_BYTES_MAX", 1_000)
    feed = FakeEventFeed()
    keys = [put(feed, number, 300) for number in range(20)]
    bodies = EventBodies(feed)
    assert len(await bodies.of(keys)) == 20
    assert bodies.kept_bytes == 900
    feed.is_available = False
    assert len(await bodies.of(keys[-3:])) == 3
    feed.is_available = True
    # Each alone, and two readers of the same at a time: what is kept is counted once.
    for key in keys:
        await asyncio.gather(bodies.of([key]), bodies.of([key]))
    assert bodies.kept_bytes == 900


async def test_an_event_that_is_not_there_is_a_defect() -> None:
    """The feed names nothing that the books don't hold."""
    with pytest.raises(InvariantViolation, match="in the feed and not in the books"):
        await EventBodies(FakeEventFeed()).of([EventKey(0, 1, 1)])
