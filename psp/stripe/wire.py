"""The parts of Stripe's objects that are read, as msgspec shapes. Amounts are as Stripe counts them."""

from __future__ import annotations

import msgspec

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What msgspec raises on bytes from outside: also broken UTF-8, and nesting too deep for the stack."""


class Redirect(msgspec.Struct, frozen=True):
    """Where the buyer goes to confirm."""

    url: str


class NextAction(msgspec.Struct, frozen=True):
    type: str
    redirect_to_url: Redirect | None = None


class PaymentError(msgspec.Struct, frozen=True):
    """Why the latest try of a PaymentIntent failed."""

    code: str | None = None
    decline_code: str | None = None
    message: str | None = None


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """One charge; a PaymentIntent that was confirmed has one."""

    id: str
    created: int
    amount: int
    currency: str
    status: str
    captured: bool = False
    amount_captured: int | None = None
    amount_refunded: int = 0
    payment_intent: str | None = None
    metadata: dict[str, str] = {}


class PaymentIntent(msgspec.Struct, frozen=True, kw_only=True):
    """A charge in the making, and what became of it."""

    id: str
    object: str
    status: str
    currency: str
    amount: int
    amount_received: int = 0
    capture_method: str = "automatic"
    metadata: dict[str, str] = {}
    next_action: NextAction | None = None
    last_payment_error: PaymentError | None = None
    latest_charge: Charge | str | None = None


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: str
    amount: int
    currency: str
    status: str
    created: int
    charge: str | None = None
    payment_intent: str | None = None
    balance_transaction: str | None = None
    """None where nothing moved: what a partial capture released."""
    metadata: dict[str, str] = {}


class RefundList(msgspec.Struct, frozen=True):
    data: list[Refund]
    has_more: bool = False


class Dispute(msgspec.Struct, frozen=True, kw_only=True):
    """What a buyer's bank takes back of a charge. It has none of our metadata."""

    id: str
    object: str
    amount: int
    currency: str
    status: str
    payment_intent: str | None = None


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """What Stripe says instead."""

    type: str | None = None
    code: str | None = None
    decline_code: str | None = None
    message: str | None = None
    param: str | None = None
    payment_intent: PaymentIntent | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    error: Error


class EventData(msgspec.Struct, frozen=True):
    object: msgspec.Raw


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a webhook."""

    id: str
    type: str
    created: int
    data: EventData


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """One movement on the account's balance. Its currency is the account's, not the buyer's."""

    id: str
    created: int
    amount: int
    fee: int
    currency: str
    type: str
    source: msgspec.Raw = msgspec.Raw(b"null")
    """The charge or refund itself: it is asked for with ``expand``."""


class BalancePage(msgspec.Struct, frozen=True):
    data: list[Balance]
    has_more: bool = False
