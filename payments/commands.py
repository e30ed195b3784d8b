"""Commands: what crosses the queue from a gateway to the partition that owns the order."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from payments.mode import Mode
from payments.operation_kinds import OperationKind
from payments.splits import Split, SplitStanding

# What stands where a token would: the buyer pays on a page of the PSP. A PSP that serves pages names it among
# the prefixes of the tokens that it takes.
HOSTED_METHOD = "hosted_page"


class HostedPage(NamedTuple):
    """Where a PSP's payment page sends the buyer back to, and which orders it shows together."""

    success_url: str
    cancel_url: str
    session: str
    """The same for all orders of one checkout, so that the buyer enters a card once."""


class PaymentCommand(NamedTuple):
    """One payment order as a gateway accepted it. Sellers and fees are snapshots of that moment."""

    order_uuid: UUID
    idempotency_key: UUID
    merchant_no: int
    merchant_id: str
    mode: Mode
    seller_no: int
    amount_minor: int
    currency: str
    fee_minor: int
    """Our fee, computed from the seller's schedule at acceptance; 0 <= fee <= amount."""
    payment_method: str
    """The PSP's token; personal data, never stored in the books."""
    description: str | None
    buyer_json: str | None
    """Canonical JSON text of the buyer object, or None."""
    metadata_json: str | None
    """Canonical JSON text of the metadata object, or None for none."""
    fingerprint: bytes
    accepted_at: datetime
    api_version: str
    reply_to: str
    """The gateway's reply channel; empty when nobody listens."""
    captures_manually: bool = False
    """Whether it is only authorized at first, and captured on the storefront's word."""
    hosted: HostedPage | None = None
    """Set exactly when ``payment_method`` is HOSTED_METHOD."""
    splits: tuple[Split, ...] | None = None
    """Whose parts the charge has; their fees sum to ``fee_minor``. None: all of it is the seller's."""

    @property
    def parts(self) -> tuple[SplitStanding, ...]:
        """Its splits as they stand before anything of them is captured; empty without splits."""
        return tuple(map(SplitStanding, self.splits or ()))


class OperationCommand(NamedTuple):
    """A capture, void or refund of one payment as a gateway accepted it. It crosses the payment's partition."""

    operation_uuid: UUID
    """Derived from payment, kind and key (payments.identity): a key names one operation of one payment."""
    kind: OperationKind
    idempotency_key: UUID
    payment_uuid: UUID
    """The order_uuid of its payment."""
    payment_key: UUID
    """The payment's own idempotency key, which is its id at the API."""
    merchant_no: int
    merchant_id: str
    mode: Mode
    amount_minor: int | None
    """None: all that is left when the owner takes it in."""
    reason: str | None
    """Personal data perhaps: kept apart from the books, and shown nowhere."""
    fingerprint: bytes
    accepted_at: datetime
    api_version: str
    reply_to: str
    """The gateway's reply channel; empty when nobody listens."""

    @property
    def order_uuid(self) -> UUID:
        """What the queue knows it by, as it knows an order by its own."""
        return self.operation_uuid
