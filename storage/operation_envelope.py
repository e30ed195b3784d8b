"""The envelope of an operation on the stream: the fields of a command (storage.envelope), differently filled.

===== ===========================================================================================
field holds
===== ===========================================================================================
``c`` ``capture``, ``void`` or ``refund``
``m`` merchant and mode
``k`` operation_uuid, whose key record is its own; the partition is its payment's
``f`` fingerprint (payments.operation_fingerprint)
``v`` schema version, encryption
``t`` accepted_at
``r`` reply channel
``p`` payload, see ``_Payload``
===== ===========================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from payments.commands import OperationCommand
from payments.defects import InvariantViolation
from payments.identity import order_uuid
from payments.operation_kinds import OperationKind
from storage.command_rules import problem_of_operation
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

OPERATION_KINDS: Mapping[bytes | None, OperationKind] = {
    kind.wire.encode(): kind for kind in OperationKind if kind.is_of_storefronts
}

# Keys, a merchant's id and a reason: with escapes it stays far under this.
PAYLOAD_BYTES_MAX = 8 * 1024


class _Payload(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Field ``p``, version 1. New fields go to the end with a default; readers skip others."""

    idempotency_key: bytes
    payment_key: bytes
    merchant_id: str
    amount_minor: int | None
    reason: str | None
    api_version: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Payload)


def operation_entry(command: OperationCommand, partition_index: int) -> QueueEntry:
    """Return an operation as the append script takes it, for its payment's partition.

    Raises InvariantViolation for one that ``decode_operation`` would refuse.
    """
    if (problem := problem_of_operation(command)) is not None:
        raise InvariantViolation(f"an operation that can't be queued: {problem}")
    payload = _Payload(
        idempotency_key=command.idempotency_key.bytes,
        payment_key=command.payment_key.bytes,
        merchant_id=command.merchant_id,
        amount_minor=command.amount_minor,
        reason=command.reason,
        api_version=command.api_version,
    )
    at_ms = accepted_at_ms(command.accepted_at)
    return QueueEntry(
        partition_index=partition_index,
        order_uuid=command.operation_uuid,
        fingerprint=command.fingerprint,
        accepted_at_ms=at_ms,
        fields=merchants_fields(
            command.kind.wire.encode(),
            command,
            command.operation_uuid,
            at_ms,
            _encoder.encode(payload),
        ),
        is_operation=True,
    )


def decode_operation(
    raw: Sequence[bytes], header: EnvelopeHeader | None = None
) -> OperationCommand:
    """Return the operation of a stream message. Raises EnvelopeUnreadable, and nothing else.

    Everything is checked again, as it is of a payment.
    """
    fields = fields_of(raw)
    header = header or header_of(fields)
    kind = OPERATION_KINDS.get(header.kind)
    if kind is None:
        raise EnvelopeUnreadable("command_unknown", "field c names no operation of this version")
    stated_version(fields.get(b"v", b""))
    whole = whole_header(header)
    payload = decode_payload(fields, _decoder, bytes_max=PAYLOAD_BYTES_MAX)
    if len(payload.idempotency_key) != 16 or len(payload.payment_key) != 16:
        raise EnvelopeUnreadable("value_out_of_range", "a key is not 16 bytes")
    if "|" in payload.merchant_id:
        raise EnvelopeUnreadable("value_out_of_range", "merchant_id is malformed")
    payment_key = UUID(bytes=payload.payment_key)
    command = OperationCommand(
        operation_uuid=whole.order_uuid,
        kind=kind,
        idempotency_key=UUID(bytes=payload.idempotency_key),
        payment_uuid=order_uuid(payload.merchant_id, whole.mode, payment_key),
        payment_key=payment_key,
        merchant_no=whole.merchant_no,
        merchant_id=payload.merchant_id,
        mode=whole.mode,
        amount_minor=payload.amount_minor,
        reason=payload.reason,
        fingerprint=whole.fingerprint,
        accepted_at=whole.accepted_at,
        api_version=payload.api_version,
        reply_to=whole.reply_to,
    )
    if (problem := problem_of_operation(command)) is not None:
        raise EnvelopeUnreadable("value_out_of_range", problem)
    return command
