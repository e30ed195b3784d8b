"""Checkouts: one buyer event with one or more payment orders, each a payment of its own.

A checkout charges nothing. It fixes which orders belong together, and is kept so that they can be told
together; each order is taken in, tried and booked by the partition that its own id leads to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

from payments.checkout_names import checkout_id
from payments.commands import HostedPage
from payments.fingerprint import FIELD_BYTES, FIELDS, VERSION, WHOLE_BYTES, canonical_json
from payments.identity import order_uuid
from payments.lifecycle import TERMINAL_STATES, PaymentState
from payments.mode import Mode

# A buyer's cart with this many sellers is a large one. Each is an append, a row and a call to a PSP, so one
# request asks for a fifth of what a lane appends at a time, and its answer stays below 20 KiB.
CHECKOUT_ORDERS_MAX = 20

CHECKOUT_FIELDS = ("orders", "payment_method", "hosted", "metadata", "buyer")
"""What two requests under one key are compared by, in the order ``differs`` reports it."""


class CheckoutOrder(NamedTuple):
    """One order of a checkout. ``fingerprint`` is the order's own: an order with another one under the same
    id is another request's."""

    idempotency_key: UUID
    """The order's id at the API."""
    seller_no: int
    seller_id: str
    amount_minor: int
    currency: str
    fingerprint: bytes


class Checkout(NamedTuple):
    """One checkout as a gateway accepted it. Nothing personal is in it: that goes with the orders."""

    checkout_uuid: UUID
    idempotency_key: UUID
    merchant_no: int
    merchant_id: str
    mode: Mode
    orders: tuple[CheckoutOrder, ...]
    success_url: str | None
    """Where the PSP's page sends the buyer back to; None without a page."""
    cancel_url: str | None
    metadata_json: str | None
    """Canonical JSON text of the metadata object, or None for none."""
    fingerprint: bytes
    accepted_at: datetime
    api_version: str
    reply_to: str = ""

    @property
    def hosted(self) -> HostedPage | None:
        """The page's part of each order's command; None without a page."""
        if self.success_url is None or self.cancel_url is None:
            return None
        return HostedPage(self.success_url, self.cancel_url, checkout_id(self.checkout_uuid))

    def order_uuids(self) -> list[UUID]:
        """Return the identities of its orders, in their order."""
        return [
            order_uuid(self.merchant_id, self.mode, order.idempotency_key) for order in self.orders
        ]


class CheckoutRow(NamedTuple):
    """A checkout, kept once (see payments.rows)."""

    partition_index: int
    checkout_uuid: UUID
    idempotency_key: UUID
    merchant_no: int
    mode: int
    success_url: str | None
    cancel_url: str | None
    metadata_json: str | None
    fingerprint: bytes
    api_version: str
    accepted_at: datetime


class CheckoutOrderRow(NamedTuple):
    """Which order stands where in a checkout. The order itself may be in another partition, or not be yet."""

    partition_index: int
    checkout_uuid: UUID
    position: int
    order_uuid: UUID
    idempotency_key: UUID
    seller_no: int
    amount_minor: int
    currency: str
    fingerprint: bytes


def checkout_row(partition_index: int, checkout: Checkout) -> CheckoutRow:
    """The checkout as it was accepted; never changed afterwards."""
    return CheckoutRow(
        partition_index=partition_index,
        checkout_uuid=checkout.checkout_uuid,
        idempotency_key=checkout.idempotency_key,
        merchant_no=checkout.merchant_no,
        mode=checkout.mode,
        success_url=checkout.success_url,
        cancel_url=checkout.cancel_url,
        metadata_json=checkout.metadata_json,
        fingerprint=checkout.fingerprint,
        api_version=checkout.api_version,
        accepted_at=checkout.accepted_at,
    )


def checkout_order_rows(partition_index: int, checkout: Checkout) -> list[CheckoutOrderRow]:
    """The orders of a checkout, in their order."""
    return [
        CheckoutOrderRow(
            partition_index=partition_index,
            checkout_uuid=checkout.checkout_uuid,
            position=position,
            order_uuid=uuid,
            idempotency_key=order.idempotency_key,
            seller_no=order.seller_no,
            amount_minor=order.amount_minor,
            currency=order.currency,
            fingerprint=order.fingerprint,
        )
        for position, (uuid, order) in enumerate(
            zip(checkout.order_uuids(), checkout.orders, strict=True)
        )
    ]


def checkout_fingerprint(fields: Mapping[str, object], key: bytes) -> bytes:
    """Return the keyed digests of a checkout's business fields, laid out as an order's fingerprint is.

    So whatever compares fingerprints compares these; the places that are left over hold zeros.
    """
    texts = [canonical_json(fields.get(name)).encode("ascii") for name in CHECKOUT_FIELDS]
    # The word keeps them apart from digests of an order's fields.
    whole = b"\n".join((b"checkout", *texts))
    digests = [
        blake2b(
            b"checkout\n" + text, digest_size=FIELD_BYTES, key=key, person=name.encode()
        ).digest()
        for name, text in zip(CHECKOUT_FIELDS, texts, strict=True)
    ]
    return b"".join(
        (
            bytes((VERSION,)),
            blake2b(whole, digest_size=WHOLE_BYTES, key=key, person=b"checkout").digest(),
            b"".join(digests).ljust(len(FIELDS) * FIELD_BYTES, b"\0"),
        )
    )


class CheckoutStatus(StrEnum):
    """How a checkout stands, from how its orders stand."""

    PROCESSING = "processing"
    """An order is on its first way, or its outcome is not known."""
    REQUIRES_ACTION = "requires_action"
    """It is the buyer's turn."""
    SUCCEEDED = "succeeded"
    """All orders are paid."""
    PARTIALLY_SUCCEEDED = "partially_succeeded"
    """All orders have ended, some of them paid."""
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"
    """All orders have ended so; for ends that differ, and none of them paid: FAILED."""


class OrderStanding(NamedTuple):
    """What of an order's state a checkout looks at."""

    state: PaymentState
    is_waiting_long: bool = False
    """Whether its next try has a time: nobody waits for it with the buyer."""


_PAID = frozenset({PaymentState.SUCCEEDED, PaymentState.PARTIALLY_CAPTURED})
_SAME_ENDS: Mapping[PaymentState, CheckoutStatus] = {
    PaymentState.SUCCEEDED: CheckoutStatus.SUCCEEDED,
    PaymentState.FAILED: CheckoutStatus.FAILED,
    PaymentState.CANCELED: CheckoutStatus.CANCELED,
    PaymentState.EXPIRED: CheckoutStatus.EXPIRED,
}


def checkout_status(orders: Sequence[OrderStanding]) -> CheckoutStatus:
    """Return how a checkout stands. The first line that holds, from top to bottom."""
    states = {order.state for order in orders}
    is_open = not states <= TERMINAL_STATES | _PAID
    is_settling = any(
        order.state in (PaymentState.CREATED, PaymentState.PROCESSING) and not order.is_waiting_long
        for order in orders
    )
    if not is_settling and PaymentState.REQUIRES_ACTION in states:
        return CheckoutStatus.REQUIRES_ACTION
    if is_open:
        return CheckoutStatus.PROCESSING
    if len(states) == 1 and (status := _SAME_ENDS.get(next(iter(states)))) is not None:
        return status
    return CheckoutStatus.PARTIALLY_SUCCEEDED if states & _PAID else CheckoutStatus.FAILED
