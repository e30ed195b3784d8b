"""What a gateway answers, as typed objects. Amounts are integers of minor units."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tallystick.record import Record


class Failure(Record):
    """Why a payment failed."""

    __slots__ = ()
    code: str
    decline_code: str | None
    message: str | None


class NextAction(Record):
    """What the buyer has to do: go to ``url``."""

    __slots__ = ()
    type: str
    url: str
    expires_at: datetime | None


class Split(Record):
    """One seller's part of a charge, as it was accepted."""

    __slots__ = ()
    seller: str
    amount: int
    fee: int


UNDER_WAY = frozenset({"created", "processing"})
"""States of a payment that end without anybody's doing."""


class Payment(Record):
    """A payment order. Amounts are None only of one that can't be read yet by its owner."""

    __slots__ = ()
    id: str
    object: str
    status: str
    outcome: str
    amount: int | None
    amount_captured: int
    amount_refunded: int
    currency: str | None
    seller: str | None
    fee: int | None
    splits: tuple[Split, ...]
    """Whose parts the charge has: only there where it has several sellers'."""
    psp: str | None
    psp_reference: str | None
    attempts: int
    failure: Failure | None
    next_action: NextAction | None
    next_retry_at: datetime | None
    metadata: Mapping[str, str]
    capture: str
    created_at: datetime
    effective_at: datetime | None
    ledger_updated_at: datetime | None
    wallet_updated_at: datetime | None

    @property
    def is_under_way(self) -> bool:
        """Whether it goes on by itself: nobody has to act, and it has not ended."""
        return self.status in UNDER_WAY


class Refund(Record):
    """A payment back, whole or in part. ``amount`` is None until all that is left has been counted.

    ``payment`` is None only of one that can't be read, and was asked for by its id alone.
    """

    __slots__ = ()
    id: str
    object: str
    payment: str | None
    status: str
    outcome: str
    amount: int | None
    currency: str | None
    failure: Failure | None
    next_retry_at: datetime | None
    created_at: datetime
    effective_at: datetime | None
    ledger_updated_at: datetime | None


class Capture(Refund):
    """Authorized money that is taken, whole or in part."""

    __slots__ = ()


class Void(Refund):
    """Authorized money that is let go."""

    __slots__ = ()


class Dispute(Record):
    """What a buyer's bank takes back of a payment; ``status`` is ``opened``, ``won`` or ``lost``."""

    __slots__ = ()
    id: str
    object: str
    payment: str
    status: str
    amount: int
    currency: str
    psp: str
    psp_reference: str
    created_at: datetime


ENDED_KINDS: Mapping[str, type[Record]] = {
    "payment": Payment,
    "refund": Refund,
    "capture": Capture,
    "void": Void,
}
"""What a problem may tell the end of, by the name of its member."""


class Transfer(Record):
    """One movement of money, both halves in one row."""

    __slots__ = ()
    id: str
    object: str
    kind: str
    debit_account: str
    credit_account: str
    amount: int
    currency: str
    created_at: datetime
    batch: str


class Seller(Record):
    """Whose wallet can be credited."""

    __slots__ = ()
    id: str
    object: str
    name: str
    fee: Mapping[str, Any] | None
    created_at: datetime


class Balance(Record):
    """A wallet's money in one currency."""

    __slots__ = ()
    currency: str
    posted: int
    pending: int
    available: int


class Wallet(Record):
    """A seller's money."""

    __slots__ = ()
    object: str
    owner: str
    balances: tuple[Balance, ...]
    as_of: datetime


class Checkout(Record):
    """What a buyer pays at once, to one seller or several."""

    __slots__ = ()
    id: str
    object: str
    status: str
    is_payment_done: bool
    orders: tuple[Payment, ...]
    redirect_url: str | None
    hosted: Mapping[str, str] | None
    metadata: Mapping[str, str]
    expires_at: datetime | None
    created_at: datetime


class Event(Record):
    """Something that happened. ``sequence`` has no gaps for one object."""

    __slots__ = ()
    id: str
    type: str
    created_at: datetime
    object: str
    object_id: str
    sequence: int
    data: Mapping[str, Any]
    api_version: str


class WebhookEndpoint(Record):
    """Where events are sent to. ``secret`` comes once, in the answer that made it."""

    __slots__ = ()
    id: str
    object: str
    url: str
    types: list[str]
    status: str
    secret: str
    created_at: datetime


class Delivery(Record):
    """One event on its way to one endpoint."""

    __slots__ = ()
    id: str
    object: str
    endpoint: str
    event: str
    type: str
    state: str
    tries: int
    next_try_at: datetime | None


class Resend(Record):
    """Deliveries that are begun anew; with ``has_more`` the range holds more of them."""

    __slots__ = ()
    object: str
    endpoint: str
    deliveries: int
    has_more: bool


class LoggedRequest(Record):
    """What was asked and answered, with what is secret or personal left out."""

    __slots__ = ()
    id: str
    object: str
    method: str
    route: str
    status: int
    code: str | None
    idempotency_key: str | None
    duration_ms: float
    received_at: datetime
    request: Any
    answer: Any
