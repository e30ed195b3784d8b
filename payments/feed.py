"""Where an event stands in its merchant's feed, and how that is written for storefronts.

The feed is ordered by the transaction that wrote an event. It is served only below the oldest transaction
that is still running, so that nothing comes up later before a place that somebody has passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from payments.identity import ORDER_NO_MAX, PARTITION_INDEX_MAX
from payments.letter_ids import letter_id, parse_letter_id

EVENT_PREFIX = "evt"
CURSOR_PREFIX = "fc"
ENDPOINT_PREFIX = "we"
DELIVERY_PREFIX = "whd"

# What Postgres keeps them in: integer, integer, xid8. A cursor beyond a bigint names no transaction.
SEQUENCE_MAX = 2**31 - 1
ENDPOINT_NO_MAX = 2**31 - 1
DB_TRANSACTION_MAX = 2**63 - 1

# Between the places of several shards in one cursor.
_SHARD_SEPARATOR = "."


class EventKey(NamedTuple):
    """The identity of one event: whose partition's object, and which of its events."""

    partition_index: int
    order_no: int
    sequence: int


class FeedPosition(NamedTuple):
    """A place in the feed of one shard. Compares as the feed is ordered."""

    db_transaction: int
    partition_index: int
    """-1: before all events of the transaction."""
    order_no: int
    sequence: int

    @property
    def key(self) -> EventKey:
        """Which event stands here."""
        return EventKey(self.partition_index, self.order_no, self.sequence)


FEED_START = FeedPosition(0, -1, 0, 0)


def before_transaction(db_transaction: int) -> FeedPosition:
    """Return the place before the transaction's events, and after those of all before it."""
    return FeedPosition(db_transaction, -1, 0, 0)


def event_id(key: EventKey) -> str:
    """Return the public id of an event, ``evt_…``; also the ``webhook-id`` of its deliveries."""
    return letter_id(EVENT_PREFIX, *key)


def parse_event_id(text: str) -> EventKey | None:
    """Return what ``event_id`` wrote, or None when the text is no event's id."""
    numbers = parse_letter_id(EVENT_PREFIX, text, (PARTITION_INDEX_MAX, ORDER_NO_MAX, SEQUENCE_MAX))
    return None if numbers is None else EventKey(*numbers)


def feed_cursor(positions: Sequence[FeedPosition]) -> str:
    """Return the cursor of a place in each shard, in the order of the shards."""
    return _SHARD_SEPARATOR.join(_numbers_text(CURSOR_PREFIX, (), place) for place in positions)


def parse_feed_cursor(text: str, *, shard_count: int) -> tuple[FeedPosition, ...] | None:
    """Return what ``feed_cursor`` wrote for so many shards, or None when the text is no such cursor."""
    parts = text.split(_SHARD_SEPARATOR)
    if len(parts) != shard_count:
        return None
    places = [_position(parse_letter_id(CURSOR_PREFIX, part, _PLACE_MAXIMA)) for part in parts]
    return tuple(place for place in places if place is not None) if None not in places else None


def endpoint_id(endpoint_no: int) -> str:
    """Return the public id of a webhook endpoint, ``we_…``."""
    return letter_id(ENDPOINT_PREFIX, endpoint_no)


def parse_endpoint_id(text: str) -> int | None:
    """Return what ``endpoint_id`` wrote, or None when the text is no such id."""
    numbers = parse_letter_id(ENDPOINT_PREFIX, text, (ENDPOINT_NO_MAX,))
    return None if numbers is None else numbers[0]


def delivery_id(endpoint_no: int, position: FeedPosition) -> str:
    """Return the public id of an event's delivery to an endpoint, ``whd_…``."""
    return _numbers_text(DELIVERY_PREFIX, (endpoint_no,), position)


def parse_delivery_id(text: str) -> tuple[int, FeedPosition] | None:
    """Return endpoint and place that ``delivery_id`` wrote, or None when the text is no such id."""
    numbers = parse_letter_id(DELIVERY_PREFIX, text, (ENDPOINT_NO_MAX, *_PLACE_MAXIMA))
    place = None if numbers is None else _position(numbers[1:])
    return None if numbers is None or place is None else (numbers[0], place)


_PLACE_MAXIMA = (DB_TRANSACTION_MAX, PARTITION_INDEX_MAX + 1, ORDER_NO_MAX, SEQUENCE_MAX)


def _numbers_text(prefix: str, before: tuple[int, ...], place: FeedPosition) -> str:
    # The partition is raised by one: -1 stands before all of them.
    transaction, partition_index, order_no, sequence = place
    return letter_id(prefix, *before, transaction, partition_index + 1, order_no, sequence)


def _position(numbers: tuple[int, ...] | None) -> FeedPosition | None:
    if numbers is None:
        return None
    transaction, raised_index, order_no, sequence = numbers
    return FeedPosition(transaction, raised_index - 1, order_no, sequence)
