"""What a gateway keeps of acknowledged orders until their intake is reported."""

from __future__ import annotations

from uuid import uuid4

from gateway.unreported import Unreported
from storage.queue_ports import QueueEntry


def _entry(size_bytes: int) -> QueueEntry:
    return QueueEntry(
        partition_index=0,
        order_uuid=uuid4(),
        fingerprint=b"f",
        accepted_at_ms=0,
        fields=(b"p", bytes(size_bytes - 1)),
    )


def test_orders_are_bounded_by_count() -> None:
    """So many orders are kept, and no more until some are reported."""
    kept = Unreported(2)
    entries = [_entry(10), _entry(10)]
    for entry in entries:
        assert kept.has_room_for(1)
        kept.keep(entry, 0.0)
    assert not kept.has_room_for(1)
    kept.reported([entries[0].order_uuid])
    assert kept.has_room_for(1)
    assert kept.all() == [entries[1]]


def test_events_take_no_orders_place() -> None:
    """Of PSPs' events a part is kept, the latest; an order is never forgotten for one."""
    kept = Unreported(10)
    order = _entry(10)
    events = [_entry(10)._replace(is_event=True) for _ in range(20)]
    kept.keep(order, 0.0)
    for event in events:
        kept.keep(event, 1.0)
        kept.keep(event, 2.0)
    assert kept.has_room_for(7)
    assert kept.all() == [order, *events[-2:]]
    kept.forget_events(kept.all(), 3.0)
    kept.keep(events[0], 4.0)
    kept.reported([event.order_uuid for event in events])
    assert kept.all() == [order]


def test_orders_are_bounded_by_size() -> None:
    """Large orders fill the memory meant for many small ones; reports give it free, repeats count once."""
    kept = Unreported(1_000, bytes_max=100)
    first, second = _entry(60), _entry(60)
    kept.keep(first, 0.0)
    kept.keep(first, 1.0)
    assert kept.has_room_for(1)
    kept.keep(second, 2.0)
    assert not kept.has_room_for(1)
    kept.reported([first.order_uuid, first.order_uuid])
    assert kept.has_room_for(1)
