"""The life cycle of a payment order, as one table. What is not in it can't happen.

Wire names are those of the storefront's API. Numbers are stored in the ledger: never renumber.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from payments.defects import InvariantViolation


class PaymentState(IntEnum):
    """Where a payment order stands."""

    CREATED = 1
    PROCESSING = 2
    REQUIRES_ACTION = 3
    REQUIRES_CAPTURE = 4
    SUCCEEDED = 5
    PARTIALLY_CAPTURED = 6
    FAILED = 7
    CANCELED = 8
    EXPIRED = 9

    @property
    def wire(self) -> str:
        """The name in the API, such as ``requires_action``."""
        return self.name.lower()

    @classmethod
    def from_wire(cls, wire: str) -> PaymentState | None:
        """Return the state of that API name, or None when there is none."""
        return _BY_WIRE.get(wire)


class PaymentEvent(IntEnum):
    """What can happen to a payment order. Stored as the type of its events: never renumber."""

    CREATED = 1
    """Taken in by its owner, with its first attempt."""
    ACTION_REQUIRED = 2
    RESUMED = 3
    """The buyer acted, or a try was started again."""
    AUTHORIZED = 4
    SUCCEEDED = 5
    PARTIALLY_CAPTURED = 6
    DECLINED = 7
    """The PSP refused for good, or nobody ran it within the policy."""
    CANCELED = 8
    EXPIRED = 9

    @property
    def wire(self) -> str:
        """The event type in the API, such as ``payment_order.succeeded``."""
        return f"payment_order.{_EVENT_WIRES[self]}"


_EVENT_WIRES: Mapping[PaymentEvent, str] = {
    PaymentEvent.CREATED: "created",
    PaymentEvent.ACTION_REQUIRED: "requires_action",
    PaymentEvent.RESUMED: "processing",
    PaymentEvent.AUTHORIZED: "requires_capture",
    PaymentEvent.SUCCEEDED: "succeeded",
    PaymentEvent.PARTIALLY_CAPTURED: "partially_captured",
    PaymentEvent.DECLINED: "failed",
    PaymentEvent.CANCELED: "canceled",
    PaymentEvent.EXPIRED: "expired",
}

_S, _E = PaymentState, PaymentEvent

_RUNNING: Mapping[PaymentEvent, PaymentState] = {
    _E.AUTHORIZED: _S.REQUIRES_CAPTURE,
    _E.SUCCEEDED: _S.SUCCEEDED,
    _E.DECLINED: _S.FAILED,
    _E.CANCELED: _S.CANCELED,
    _E.EXPIRED: _S.EXPIRED,
}

TRANSITIONS: Mapping[PaymentState, Mapping[PaymentEvent, PaymentState]] = {
    _S.CREATED: {_E.CREATED: _S.PROCESSING},
    _S.PROCESSING: {_E.ACTION_REQUIRED: _S.REQUIRES_ACTION, **_RUNNING},
    _S.REQUIRES_ACTION: {_E.RESUMED: _S.PROCESSING, **_RUNNING},
    _S.REQUIRES_CAPTURE: {
        _E.SUCCEEDED: _S.SUCCEEDED,
        _E.PARTIALLY_CAPTURED: _S.PARTIALLY_CAPTURED,
        _E.CANCELED: _S.CANCELED,
        _E.EXPIRED: _S.EXPIRED,
    },
    _S.PARTIALLY_CAPTURED: {
        _E.PARTIALLY_CAPTURED: _S.PARTIALLY_CAPTURED,
        _E.SUCCEEDED: _S.SUCCEEDED,
    },
    _S.SUCCEEDED: {},
    _S.FAILED: {},
    _S.CANCELED: {},
    _S.EXPIRED: {},
}

if TRANSITIONS.keys() != set(PaymentState):
    raise InvariantViolation("every state needs a row, even an empty one")

_BY_WIRE: Mapping[str, PaymentState] = {state.wire: state for state in PaymentState}

TERMINAL_STATES = frozenset(state for state, row in TRANSITIONS.items() if not row)

# The POST answer is rendered once, at the first of these, and stays so byte for byte.
FREEZING_STATES = TERMINAL_STATES | {PaymentState.REQUIRES_CAPTURE}


def next_state(state: PaymentState, event: PaymentEvent) -> PaymentState:
    """Return the state after the event. Raises InvariantViolation for a step that is not in the table."""
    following = TRANSITIONS[state].get(event)
    if following is None:
        raise InvariantViolation(f"{event.name} can't happen to a payment that is {state.name}")
    return following
