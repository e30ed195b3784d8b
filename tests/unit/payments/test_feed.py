"""Places in the feed, and the ids that are written for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.card_numbers import contains_card_number
from payments.defects import InvariantViolation
from payments.feed import (
    DB_TRANSACTION_MAX,
    ENDPOINT_NO_MAX,
    FEED_START,
    SEQUENCE_MAX,
    EventKey,
    FeedPosition,
    before_transaction,
    delivery_id,
    endpoint_id,
    event_id,
    feed_cursor,
    parse_delivery_id,
    parse_endpoint_id,
    parse_event_id,
    parse_feed_cursor,
)
from payments.identity import ORDER_NO_MAX, PARTITION_INDEX_MAX
from payments.letter_ids import letter_id, parse_letter_id

POSITIONS = st.builds(
    FeedPosition,
    st.integers(0, DB_TRANSACTION_MAX),
    st.integers(-1, PARTITION_INDEX_MAX),
    st.integers(0, ORDER_NO_MAX),
    st.integers(0, SEQUENCE_MAX),
)
KEYS = st.builds(
    EventKey,
    st.integers(0, PARTITION_INDEX_MAX),
    st.integers(0, ORDER_NO_MAX),
    st.integers(0, SEQUENCE_MAX),
)


@given(key=KEYS, position=POSITIONS, endpoint_no=st.integers(0, ENDPOINT_NO_MAX))
def test_ids_are_read_back_as_written(
    key: EventKey, position: FeedPosition, endpoint_no: int
) -> None:
    """Every event, endpoint, delivery and place has one id, which leads back to it and holds no digit."""
    assert parse_event_id(event_id(key)) == key
    assert parse_endpoint_id(endpoint_id(endpoint_no)) == endpoint_no
    assert parse_delivery_id(delivery_id(endpoint_no, position)) == (endpoint_no, position)
    cursor = feed_cursor([position, FEED_START])
    assert parse_feed_cursor(cursor, shard_count=2) == (position, FEED_START)
    for text in (event_id(key), delivery_id(endpoint_no, position), cursor):
        assert not any(character.isdigit() for character in text)
        assert not contains_card_number(text)


@given(
    text=st.text(max_size=60)
    | st.from_regex(r"(fc|evt|we|whd)(_[bcdf]{0,17}){0,6}", fullmatch=True)
)
def test_no_other_text_is_an_id(text: str) -> None:
    """What is read as an id is what would be written for it: no second spelling, no overflow."""
    if (key := parse_event_id(text)) is not None:
        assert event_id(key) == text
    if (number := parse_endpoint_id(text)) is not None:
        assert endpoint_id(number) == text
    if (delivery := parse_delivery_id(text)) is not None:
        assert delivery_id(*delivery) == text
    if (places := parse_feed_cursor(text, shard_count=1)) is not None:
        assert feed_cursor(places) == text


@pytest.mark.parametrize(
    "text", ["", "fc", "fc_", "fc_b_b_b", "fc_b_b_b_bc", "fc_1_b_b_b", "FC_b_b_b_b"]
)
def test_a_strange_cursor_is_refused(text: str) -> None:
    """Too few numbers, leading zeros, digits and capitals make no cursor."""
    assert parse_feed_cursor(text, shard_count=1) is None


def test_a_cursor_of_other_shards_is_refused() -> None:
    """A cursor holds one place for each shard, and is none for another number of them."""
    assert parse_feed_cursor(feed_cursor([FEED_START]), shard_count=2) is None


def test_numbers_above_their_maximum_are_refused() -> None:
    """An id whose number no column holds is no id."""
    assert parse_letter_id("we", letter_id("we", 8), (7,)) is None
    assert parse_letter_id("we", letter_id("we", 7), (7,)) == (7,)
    with pytest.raises(InvariantViolation):
        letter_id("we", -1)


def test_a_horizon_stands_before_all_events_of_its_transaction() -> None:
    """The place before a transaction is behind everything before it, and before everything of it."""
    place = before_transaction(7)
    assert FeedPosition(6, PARTITION_INDEX_MAX, ORDER_NO_MAX, SEQUENCE_MAX) < place
    assert place < FeedPosition(7, 0, 1, 1)
    assert place > FEED_START
