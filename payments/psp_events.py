"""What a PSP tells of one attempt by webhook, and what the books held of that attempt when somebody looked.

An event is evidence about one key, as an operator's word is (``payments.evidence``). It may come twice,
late, before its order is known, or in another order than things happened.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from payments.fingerprint import FINGERPRINT_BYTES, VERSION

# The namespace of all events' names. Changing it would take every known event for a new one.
_NAMESPACE = b"tallystick psp event"

EVENT_ID_CHARACTERS_MAX = 255


class PspEvent(NamedTuple):
    """One event of a PSP whose signature was verified. The texts are what the books can hold."""

    event_uuid: UUID
    """Its name here: see ``event_uuid``."""
    psp: str
    event_id: str
    """The PSP's own id of it."""
    order_uuid: UUID
    attempt_no: int
    result: int
    """A ResultClass, as of an answer about the attempt's key."""
    reference: str | None
    captured_minor: int
    currency: str | None
    failure_code: str | None
    decline_code: str | None
    message: str
    effective_at: datetime | None
    accepted_at: datetime
    """When a gateway had verified it, by that gateway's clock."""
    dispute_id: str | None = None
    """The PSP's own id of a dispute of the attempt's charge; None: it tells of no dispute."""
    dispute_state: int = 0
    """A DisputeState, where it does."""
    disputed_minor: int = 0
    reply_to: str = ""
    """That gateway's reply channel; empty when nobody listens. Not kept in the books."""


class EndedOrder(NamedTuple):
    """How an order ended, as far as an event can agree with it."""

    status: int
    attempt_no: int
    captured_minor: int
    currency: str
    psp_reference: str | None


class EventFound(NamedTuple):
    """An event without a result, and what the books held of its order."""

    partition_index: int
    event: PspEvent
    order_no: int | None
    """None: no order of that key is in the books (yet)."""
    attempt_psp: str | None
    """Where the attempt went; None when the order has no such attempt (yet)."""
    ended: EndedOrder | None
    is_overdue: bool
    """Whether it has waited for as long as an event may wait for its order."""


def event_uuid(psp: str, event_id: str) -> UUID:
    """Return an event's name here: the same for the same event, however often it is sent."""
    digest = _digest(psp, event_id)
    return UUID(bytes=digest[:16])


def event_fingerprint(psp: str, event_id: str) -> bytes:
    """Return what stands where an order has its fingerprint: repetitions of one event say the same.

    What an event says is not in it: the first to arrive stands, and a PSP that says something else
    under the same id contradicts itself.
    """
    return bytes((VERSION,)) + (_digest(psp, event_id) * 2)[: FINGERPRINT_BYTES - 1]


def _digest(psp: str, event_id: str) -> bytes:
    # The length keeps apart what the two together would not.
    name = b"%b|%d|%b|%b" % (_NAMESPACE, len(psp), psp.encode(), event_id.encode())
    return hashlib.sha256(name).digest()
