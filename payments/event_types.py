"""Every type of event: its number in the books, its name in the API, and of what kind of object it is.

An endpoint names the types that it wants: one by its name, all of a kind of object (``refund.*``), or ``*``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from payments.defects import InvariantViolation
from payments.disputes import DisputeEvent
from payments.lifecycle import PaymentEvent
from payments.operation_kinds import OperationEvent

PAYMENT_ORDER = "payment_order"
DISPUTE = "dispute"

EVERYTHING = "*"


class EventType(NamedTuple):
    """One type of event."""

    number: int
    """As stored: never renumber."""
    wire: str
    """Such as ``payment_order.succeeded``."""
    object_kind: str
    """What the event is of; the first part of its name."""


EVENT_TYPES: Mapping[int, EventType] = {
    **{event: EventType(event, event.wire, PAYMENT_ORDER) for event in PaymentEvent},
    **{
        event: EventType(event, event.wire, event.wire.partition(".")[0])
        for event in OperationEvent
    },
    **{event: EventType(event, event.wire, DISPUTE) for event in DisputeEvent},
}
"""By number. Another kind of object adds its types here, and a renderer in storage/event_rendering.py."""

TYPE_PATTERNS: Mapping[str, frozenset[int]] = {
    EVERYTHING: frozenset(EVENT_TYPES),
    **{
        f"{kind}.*": frozenset(of.number for of in EVENT_TYPES.values() if of.object_kind == kind)
        for kind in {of.object_kind for of in EVENT_TYPES.values()}
    },
    **{of.wire: frozenset({of.number}) for of in EVENT_TYPES.values()},
}
"""What an endpoint may ask for, and which numbers that means."""


def event_type(number: int) -> EventType:
    """Return the type of that number.

    Raises InvariantViolation for one that this code does not know: a newer host has written it, and nobody
    may pass over it.
    """
    found = EVENT_TYPES.get(number)
    if found is None:
        raise InvariantViolation(f"no event has the type {number}")
    return found


def wanted_numbers(patterns: Iterable[str]) -> frozenset[int]:
    """Return the numbers of the types that these ask for; one that nobody knows any more asks for none."""
    return frozenset().union(*(TYPE_PATTERNS.get(pattern, frozenset()) for pattern in patterns))


def is_wanted(wire: str, patterns: Iterable[str]) -> bool:
    """Return whether these ask for the type of that name; new names of a kind that is asked for count, too."""
    kind = f"{wire.partition('.')[0]}.*"
    return any(pattern in (wire, kind, EVERYTHING) for pattern in patterns)
