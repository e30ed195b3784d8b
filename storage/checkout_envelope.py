"""The envelope of a checkout on the stream: the fields of a command (storage.envelope), differently filled.

===== ===========================================================================================
field holds
===== ===========================================================================================
``c`` ``checkout``
``m`` merchant and mode, as a command has them
``k`` the checkout's own name (payments.identity.checkout_uuid), which also leads to its partition
``f`` the checkout's fingerprint
``v`` schema version, encryption
``t`` accepted_at
``r`` reply channel
``p`` payload, see ``_Payload``. Its orders cross as commands of their own
===== ===========================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec

from payments.checkout_names import checkout_uuid
from payments.checkouts import CHECKOUT_ORDERS_MAX, Checkout, CheckoutOrder
from payments.currencies import EXPONENTS
from payments.defects import InvariantViolation
from payments.fingerprint import FINGERPRINT_BYTES, VERSION, is_readable
from payments.identity import SELLER_ID_LENGTH_MAX
from payments.money import AMOUNT_MINOR_MAX
from storage.command_rules import (
    NUMBER_MAX,
    problem_of_metadata,
    problem_of_names,
    problem_of_page_url,
)
from storage.envelope_fields import (
    EnvelopeHeader,
    accepted_at_ms,
    decode_payload,
    fields_of,
    header_of,
    merchants_fields,
    stated_version,
    whole_header,
)
from storage.queue_ports import QueueEntry
from storage.sealing import EnvelopeUnreadable

KIND_CHECKOUT = b"checkout"

# As many orders as there may be, two long URLs, and metadata as large as a body may bring it.
PAYLOAD_BYTES_MAX = 256 * 1024


class _Order(msgspec.Struct, array_like=True, frozen=True, gc=False):
    idempotency_key: bytes
    seller_no: int
    seller_id: str
    amount_minor: int
    currency: str
    fingerprint: bytes


class _Payload(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Field ``p``, version 1. New fields go to the end with a default; readers skip others."""

    idempotency_key: bytes
    merchant_id: str
    orders: list[_Order]
    success_url: str | None
    cancel_url: str | None
    metadata_json: str | None
    api_version: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Payload)


def checkout_entry(checkout: Checkout, partition_index: int) -> QueueEntry:
    """Return a checkout as the append script takes it.

    Raises InvariantViolation for one that ``decode_checkout`` would refuse.
    """
    if (problem := problem_of_checkout(checkout)) is not None:
        raise InvariantViolation(f"a checkout that can't be queued: {problem}")
    at_ms = accepted_at_ms(checkout.accepted_at)
    payload = _encoder.encode(_payload_of(checkout))
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise InvariantViolation(f"a payload of {len(payload)} bytes is over {PAYLOAD_BYTES_MAX}")
    return QueueEntry(
        partition_index=partition_index,
        order_uuid=checkout.checkout_uuid,
        fingerprint=checkout.fingerprint,
        accepted_at_ms=at_ms,
        fields=merchants_fields(KIND_CHECKOUT, checkout, checkout.checkout_uuid, at_ms, payload),
        is_checkout=True,
    )


def decode_checkout(raw: Sequence[bytes], header: EnvelopeHeader | None = None) -> Checkout:
    """Return the checkout of a stream message. Raises EnvelopeUnreadable, and nothing else.

    Everything is checked again, as it is of a command.
    """
    fields = fields_of(raw)
    header = header or header_of(fields)
    if header.kind != KIND_CHECKOUT:
        raise EnvelopeUnreadable("command_unknown", "field c names no checkout of this version")
    stated_version(fields.get(b"v", b""))
    whole = whole_header(header)
    payload = decode_payload(fields, _decoder, bytes_max=PAYLOAD_BYTES_MAX)
    keys = [payload.idempotency_key, *(order.idempotency_key for order in payload.orders)]
    if any(len(key) != 16 for key in keys):
        raise EnvelopeUnreadable("value_out_of_range", "an idempotency_key is not 16 bytes")
    checkout = Checkout(
        checkout_uuid=whole.order_uuid,
        idempotency_key=UUID(bytes=payload.idempotency_key),
        merchant_no=whole.merchant_no,
        merchant_id=payload.merchant_id,
        mode=whole.mode,
        orders=tuple(map(_order, payload.orders)),
        success_url=payload.success_url,
        cancel_url=payload.cancel_url,
        metadata_json=payload.metadata_json,
        fingerprint=whole.fingerprint,
        accepted_at=whole.accepted_at,
        api_version=payload.api_version,
        reply_to=whole.reply_to,
    )
    if (problem := problem_of_checkout(checkout)) is not None:
        raise EnvelopeUnreadable("value_out_of_range", problem)
    return checkout


def problem_of_checkout(checkout: Checkout) -> str | None:
    """Return the first rule that a checkout breaks, or None. The same for writing and reading."""
    if not 1 <= checkout.merchant_no <= NUMBER_MAX:
        return f"merchant_no is outside 1..{NUMBER_MAX}"
    if _is_no_fingerprint(checkout.fingerprint):
        return f"fingerprint is not {FINGERPRINT_BYTES} bytes of version {VERSION}"
    problem = problem_of_names(checkout.merchant_id, checkout.api_version, checkout.reply_to)
    if problem is not None:
        return problem
    if checkout.checkout_uuid != checkout_uuid(
        checkout.merchant_id, checkout.mode, checkout.idempotency_key
    ):
        return "checkout_uuid does not follow from merchant, mode and idempotency_key"
    if (checkout.success_url is None) != (checkout.cancel_url is None):
        return "success_url and cancel_url go together"
    for url in (checkout.success_url, checkout.cancel_url):
        if url is not None and (problem := problem_of_page_url(url)) is not None:
            return problem
    return _problem_of_orders(checkout.orders) or problem_of_metadata(checkout.metadata_json)


def _problem_of_orders(orders: Sequence[CheckoutOrder]) -> str | None:
    if not 1 <= len(orders) <= CHECKOUT_ORDERS_MAX:
        return f"orders are not 1..{CHECKOUT_ORDERS_MAX}"
    if len({order.idempotency_key for order in orders}) != len(orders):
        return "two orders have the same idempotency_key"
    for order in orders:
        if not 1 <= order.seller_no <= NUMBER_MAX:
            return f"an order's seller_no is outside 1..{NUMBER_MAX}"
        if not (1 <= len(order.seller_id) <= SELLER_ID_LENGTH_MAX and order.seller_id.isascii()):
            return "an order's seller_id is malformed"
        if not 1 <= order.amount_minor <= AMOUNT_MINOR_MAX:
            return f"an order's amount_minor is outside 1..{AMOUNT_MINOR_MAX}"
        if order.currency not in EXPONENTS:
            return "an order's currency is not one of ISO 4217"
        # Of either version: an order may have splits, which cross with its own command alone.
        if not is_readable(order.fingerprint):
            return f"an order's fingerprint is not {FINGERPRINT_BYTES} bytes of a known version"
    return None


def _is_no_fingerprint(fingerprint: bytes) -> bool:
    return len(fingerprint) != FINGERPRINT_BYTES or fingerprint[0] != VERSION


def _payload_of(checkout: Checkout) -> _Payload:
    return _Payload(
        idempotency_key=checkout.idempotency_key.bytes,
        merchant_id=checkout.merchant_id,
        orders=[_Order(order[0].bytes, *order[1:]) for order in checkout.orders],
        success_url=checkout.success_url,
        cancel_url=checkout.cancel_url,
        metadata_json=checkout.metadata_json,
        api_version=checkout.api_version,
    )


def _order(order: _Order) -> CheckoutOrder:
    return CheckoutOrder(
        idempotency_key=UUID(bytes=order.idempotency_key),
        seller_no=order.seller_no,
        seller_id=order.seller_id,
        amount_minor=order.amount_minor,
        currency=order.currency,
        fingerprint=order.fingerprint,
    )
