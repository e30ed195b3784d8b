"""The envelope of a command on the stream. Personal data in the books has its own (sealing).

A stream message has eight fields. All but ``p`` stay readable when ``p`` is not, so that a message
of an unknown version or with a damaged payload can still be set aside under its own order:

===== ============================ ===================================================================
field holds                        form
===== ============================ ===================================================================
``c`` the kind of command          ``payment`` (others: operation_envelope, event_envelope,
                                   checkout_envelope)
``m`` merchant and mode            ``<merchant_no>|<test or live>``
``k`` order_uuid                   36 characters, lower case
``f`` fingerprint                  FINGERPRINT_BYTES raw bytes
``v`` schema version, encryption   ``<version>|<flag>``, now ``1|0``
``t`` accepted_at                  milliseconds since 1970, set once
``r`` reply channel                printable ASCII; empty when nobody listens
``p`` payload                      MessagePack array, see ``envelope_payload.Payload``
===== ============================ ===================================================================

Messages of exceptions name fields, lengths and limits, never contents: they end up in logs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import starmap

from payments.commands import HostedPage, PaymentCommand
from payments.defects import InvariantViolation
from payments.splits import Split
from storage.command_rules import problem_of
from storage.envelope_fields import (
    VERSION_AND_FLAG_NOW,
    EnvelopeHeader,
    accepted_at_ms,
    decode_payload,
    fields_of,
    header_of,
    merchants_fields,
    read_header,
    stated_version,
    whole_header,
)
from storage.envelope_payload import (
    PAYLOAD_BYTES_MAX,
    PAYLOAD_DECODER,
    PAYLOAD_ENCODER,
    Payload,
)
from storage.queue_ports import QueueEntry
from storage.sealing import (
    Detail,
    EnvelopeUnreadable,
    decode_detail,
    encode_detail,
    open_sealed,
    seal,
)
from storage.uuids import DriverUuid

__all__ = [
    "VERSION_AND_FLAG_NOW",
    "Detail",
    "EnvelopeHeader",
    "EnvelopeUnreadable",
    "accepted_at_ms",
    "decode_detail",
    "decode_fields",
    "decode_named",
    "encode_command",
    "encode_detail",
    "open_sealed",
    "queue_entry",
    "read_header",
    "seal",
]

KIND_PAYMENT = b"payment"


def encode_command(command: PaymentCommand) -> tuple[bytes, ...]:
    """Return the fields of a command, names and values alternating, ready for XADD.

    ``accepted_at`` is kept to the millisecond. Raises InvariantViolation for a command that
    ``decode_fields`` would refuse: what can't be read later must not be accepted now.
    """
    return _encoded(command, accepted_at_ms(command.accepted_at))


def _encoded(command: PaymentCommand, at_ms: int) -> tuple[bytes, ...]:
    if (problem := problem_of(command)) is not None:
        raise InvariantViolation(f"a command that can't be queued: {problem}")
    payload = PAYLOAD_ENCODER.encode(
        Payload(
            idempotency_key=command.idempotency_key.bytes,
            merchant_id=command.merchant_id,
            seller_no=command.seller_no,
            amount_minor=command.amount_minor,
            currency=command.currency,
            fee_minor=command.fee_minor,
            payment_method=command.payment_method,
            description=command.description,
            buyer_json=command.buyer_json,
            metadata_json=command.metadata_json,
            api_version=command.api_version,
            captures_manually=command.captures_manually,
            hosted=command.hosted,
            splits=command.splits,
        )
    )
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise InvariantViolation(f"a payload of {len(payload)} bytes is over {PAYLOAD_BYTES_MAX}")
    return merchants_fields(KIND_PAYMENT, command, command.order_uuid, at_ms, payload)


def queue_entry(command: PaymentCommand, partition_index: int) -> QueueEntry:
    """Return the command as the append script takes it."""
    at_ms = accepted_at_ms(command.accepted_at)
    return QueueEntry(
        partition_index=partition_index,
        order_uuid=command.order_uuid,
        fingerprint=command.fingerprint,
        accepted_at_ms=at_ms,
        fields=_encoded(command, at_ms),
    )


def decode_fields(raw: Sequence[bytes], header: EnvelopeHeader | None = None) -> PaymentCommand:
    """Return the command of a stream message. Raises EnvelopeUnreadable, and nothing else.

    Everything is checked again: the stream is written by gateways of other versions, and by anyone
    who can reach it. Whoever has read the header of these very fields hands it in.
    """
    fields = fields_of(raw)
    return decode_named(fields, header or header_of(fields))


def decode_named(fields: Mapping[bytes, bytes], header: EnvelopeHeader) -> PaymentCommand:
    """Return what ``decode_fields`` does, of fields by name whose names were checked."""
    if header.kind != KIND_PAYMENT:
        raise EnvelopeUnreadable("command_unknown", "field c names no command of this version")
    stated_version(fields.get(b"v", b""))
    whole = whole_header(header)
    payload = decode_payload(fields, PAYLOAD_DECODER, bytes_max=PAYLOAD_BYTES_MAX)
    if len(payload.idempotency_key) != 16:
        raise EnvelopeUnreadable("value_out_of_range", "idempotency_key is not 16 bytes")
    # In the fields' order, without their names: naming twenty takes three times as long as reading them.
    command = PaymentCommand(
        whole.order_uuid,
        DriverUuid(payload.idempotency_key),
        whole.merchant_no,
        payload.merchant_id,
        whole.mode,
        payload.seller_no,
        payload.amount_minor,
        payload.currency,
        payload.fee_minor,
        payload.payment_method,
        payload.description,
        payload.buyer_json,
        payload.metadata_json,
        whole.fingerprint,
        whole.accepted_at,
        payload.api_version,
        whole.reply_to,
        payload.captures_manually,
        None if payload.hosted is None else HostedPage(*payload.hosted),
        None if payload.splits is None else tuple(starmap(Split, payload.splits)),
    )
    if (problem := problem_of(command)) is not None:
        raise EnvelopeUnreadable("value_out_of_range", problem)
    return command
