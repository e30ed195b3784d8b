"""What receivers of webhooks got, held against the events in the books."""

from __future__ import annotations

from loadtest.checker.findings import Findings, Subject
from loadtest.checker.joined import Joined, id_of
from loadtest.checker.records import EventRecord, OrderRecord

# How an event's id is written: its partition, its order's number and its sequence, each in hexadecimal with
# these letters for the digits. Told once more: the product's own table is what is checked.
_LETTERS = str.maketrans("0123456789abcdef", "bcdfghjkmnpqrstv")


def every_event_is_delivered(joined: Joined, found: Findings) -> None:
    """I18: each committed event of a merchant with an endpoint reached it; and nothing else did.

    Nothing is set aside in a run: a delivery is given up after days.
    """
    webhooks = joined.records.webhooks
    known: set[str] = set()
    for event in joined.records.events:
        name = event_id(event)
        known.add(name)
        order = _payment(joined, event)
        got = None if order is None else webhooks.get((order.merchant, order.mode))
        if order is None or got is None:
            continue
        found.check(
            name in got,
            f"event {name}, {event.type} of order {id_of(order)}, never reached {order.merchant}",
            Subject(order=id_of(order)),
        )
    for (merchant, _), got in webhooks.items():
        strange = sorted(got - known)
        found.check(not strange, f"{merchant} got {strange[:3]}, which are no events", Subject())


def _payment(joined: Joined, event: EventRecord) -> OrderRecord | None:
    """Return the payment that an event is of, or that its operation or dispute is of."""
    here = id_of(event)
    done = joined.operation_by_id.get(here) or joined.dispute_by_id.get(here)
    return joined.order_by_id.get(here if done is None else (here[0], done.payment_no))


def event_id(event: EventRecord) -> str:
    """Return the id under which an event is told."""
    numbers = (event.partition_index, event.order_no, event.sequence)
    return "_".join(["evt", *(format(number, "x").translate(_LETTERS) for number in numbers)])
