"""What a payment order is told at the door: a pure decision from what the queue and the books say.

The books (Postgres) win over the queue (Redis): they know every order that was ever taken in. A
key counts as reused only after the books were asked, and an order as accepted only once the append
is on every copy that was promised.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from payments import fingerprint
from storage.read_ports import Stored


class _State(Enum):
    """Hashed like any object: an Enum's own hash is a call in Python, and each order takes ten of them."""

    __hash__ = object.__hash__


class AppendState(_State):
    """What the append script said about one order."""

    NONE = "none"
    """No answer yet."""
    NEW = "new"
    SAME = "same"
    """The key is there already, from a request with the same fingerprint."""
    OTHER = "other"
    """The key is there already, from a request with another fingerprint."""
    LOST = "lost"
    """It was there, and is gone with a copy of the queue; now another fingerprint is. An owner may have
    read it before, so it may run all the same."""
    FULL = "full"
    UNAVAILABLE = "unavailable"


class BooksState(_State):
    """What the look-up in the books said about one order."""

    NONE = "none"
    """No answer yet."""
    ABSENT = "absent"
    HELD = "held"
    UNAVAILABLE = "unavailable"
    """Out of reach for so long that waiting is no use."""


class Verdict(_State):
    """What the request is told."""

    ACCEPTED = "accepted"
    """202: queued on every copy promised, and no other order in the books under this key."""
    ACCEPTED_DEFERRED = "accepted_deferred"
    """202 with a deferred key check: the books can't be asked."""
    RUNNING = "running"
    """202 with the present state of the order in the books."""
    FROZEN = "frozen"
    """The frozen answer of the order in the books."""
    REUSED = "reused"
    """422: the key belongs to a request with another fingerprint."""
    BACKPRESSURE = "backpressure"
    """503: too much is waiting already; surely not kept."""
    UNPROVEN = "unproven"
    """503: not known to be on every copy promised. The order may run."""
    UNDECIDED_KEY = "undecided_key"
    """503: the queue knows another fingerprint, and the books can't be asked which was first."""


class Evidence(NamedTuple):
    """What is known about one request. ``order`` is set exactly when ``books`` is HELD."""

    fingerprint: bytes
    append: AppendState
    is_durable: bool
    """Whether what the append found or did is on every copy promised (TO_BE_PROVEN)."""
    books: BooksState
    order: Stored | None
    is_past_deadline: bool


_VERDICTS: Mapping[AppendState, tuple[Verdict, Verdict]] = {
    AppendState.NEW: (Verdict.ACCEPTED, Verdict.ACCEPTED_DEFERRED),
    AppendState.SAME: (Verdict.ACCEPTED, Verdict.ACCEPTED_DEFERRED),
    AppendState.OTHER: (Verdict.REUSED, Verdict.UNDECIDED_KEY),
    AppendState.FULL: (Verdict.BACKPRESSURE, Verdict.BACKPRESSURE),
    AppendState.UNAVAILABLE: (Verdict.UNPROVEN, Verdict.UNPROVEN),
}
"""By append: the verdict when the books hold no such order, and when they can't be asked."""

TO_BE_PROVEN = frozenset({AppendState.NEW, AppendState.SAME, AppendState.OTHER})
"""What counts only once it is on every copy promised. OTHER too: else a promotion could lose the first
body, and the one that was refused for its sake could run."""


def is_unproven(append: AppendState, *, is_durable: bool) -> bool:
    """Whether what the queue said decides nothing yet: only the copies, the books or the deadline can."""
    if append in TO_BE_PROVEN:
        return not is_durable
    return append is AppendState.NONE or append is AppendState.LOST


def decide(evidence: Evidence) -> Verdict | None:
    """Return what the request is told, or None while more may come that changes it.

    Past the deadline there always is a verdict.
    """
    if evidence.order is not None:
        return _of_the_books(evidence.fingerprint, evidence.order)
    if is_unproven(evidence.append, is_durable=evidence.is_durable):
        # Until the deadline the copies may catch up, or the books may take the order in.
        return Verdict.UNPROVEN if evidence.is_past_deadline else None
    if evidence.books is BooksState.NONE and not evidence.is_past_deadline:
        return None
    if_absent, if_unknown = _VERDICTS[evidence.append]
    return if_absent if evidence.books is BooksState.ABSENT else if_unknown


def _of_the_books(own_fingerprint: bytes, order: Stored) -> Verdict:
    if not says_the_same(own_fingerprint, order):
        return Verdict.REUSED
    return Verdict.FROZEN if order.is_frozen else Verdict.RUNNING


def says_the_same(own_fingerprint: bytes, order: Stored) -> bool:
    """Whether a request is the order's own; of one whose fingerprint nobody can read it is believed."""
    return not order.fingerprint or fingerprint.same(own_fingerprint, order.fingerprint)
