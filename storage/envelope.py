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
``p`` payload                      MessagePack array, see ``_Payload``
===== ============================ ===================================================================

Messages of exceptions name fields, lengths and limits, never contents: they end up in logs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, TypeVar
from uuid import UUID

import msgspec

from payments.commands import HostedPage, PaymentCommand
from payments.defects import InvariantViolation
from payments.fingerprint import FINGERPRINT_BYTES
from payments.mode import Mode
from storage.command_rules import NUMBER_MAX, REPLY_TO, REPLY_TO_BYTES_MAX, problem_of
from storage.queue_ports import QueueEntry
from storage.sealing import (
    DECODE_FAULTS,
    ENCRYPTION_NONE,
    SCHEMA_VERSION,
    Detail,
    EnvelopeUnreadable,
    check_version,
    decode_detail,
    describe,
    encode_detail,
    open_sealed,
    seal,
)

T = TypeVar("T")

__all__ = [
    "VERSION_AND_FLAG_NOW",
    "Detail",
    "EnvelopeHeader",
    "EnvelopeUnreadable",
    "accepted_at_ms",
    "decode_detail",
    "decode_fields",
    "encode_command",
    "encode_detail",
    "open_sealed",
    "queue_entry",
    "read_header",
    "seal",
]

KIND_PAYMENT = b"payment"

# One request body is at most 64 KiB; escaped to ASCII, JSON text grows threefold at worst. The rest
# of a payload is small.
PAYLOAD_BYTES_MAX = 256 * 1024

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# The last millisecond that a datetime can hold.
_ACCEPTED_AT_MS_MAX = 253_402_300_799_999

_MERCHANT_AND_MODE = re.compile(rb"([1-9][0-9]{0,9})\|(test|live)")
_ORDER_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_VERSION_AND_FLAG = re.compile(rb"([0-9]{1,3})\|([0-9]{1,3})")
# The longest reply channel; a merchant's number and mode are shorter.
_CACHED_BYTES_MAX = REPLY_TO_BYTES_MAX
VERSION_AND_FLAG_NOW = b"%d|%d" % (SCHEMA_VERSION, ENCRYPTION_NONE)
_ACCEPTED_AT_MS = re.compile(rb"[0-9]{1,15}")


class EnvelopeHeader(NamedTuple):
    """What can be read of a message without its payload; None for each part that can't."""

    kind: bytes | None
    merchant_no: int | None
    mode: Mode | None
    order_uuid: UUID | None
    fingerprint: bytes | None
    accepted_at: datetime | None
    reply_to: str | None


class _Payload(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Field ``p``, version 1. New fields go to the end with a default; readers skip others."""

    idempotency_key: bytes
    merchant_id: str
    seller_no: int
    amount_minor: int
    currency: str
    fee_minor: int
    payment_method: str
    description: str | None
    buyer_json: str | None
    metadata_json: str | None
    api_version: str
    captures_manually: bool = False
    hosted: tuple[str, str, str] | None = None


_payload_encoder = msgspec.msgpack.Encoder()
_payload_decoder = msgspec.msgpack.Decoder(_Payload)


def encode_command(command: PaymentCommand) -> tuple[bytes, ...]:
    """Return the fields of a command, names and values alternating, ready for XADD.

    ``accepted_at`` is kept to the millisecond. Raises InvariantViolation for a command that
    ``decode_fields`` would refuse: what can't be read later must not be accepted now.
    """
    if (problem := problem_of(command)) is not None:
        raise InvariantViolation(f"a command that can't be queued: {problem}")
    payload = _payload_encoder.encode(
        _Payload(
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
        )
    )
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise InvariantViolation(f"a payload of {len(payload)} bytes is over {PAYLOAD_BYTES_MAX}")
    return (
        b"c", KIND_PAYMENT,
        b"m", b"%d|%s" % (command.merchant_no, command.mode.wire.encode()),
        b"k", str(command.order_uuid).encode(),
        b"f", command.fingerprint,
        b"v", VERSION_AND_FLAG_NOW,
        b"t", b"%d" % accepted_at_ms(command.accepted_at),
        b"r", command.reply_to.encode(),
        b"p", payload,
    )  # fmt: skip


def accepted_at_ms(accepted_at: datetime) -> int:
    """Return whole milliseconds since 1970 of an aware datetime, rounded down."""
    return (accepted_at - _EPOCH) // _MILLISECOND


def queue_entry(command: PaymentCommand, partition_index: int) -> QueueEntry:
    """Return the command as the append script takes it."""
    return QueueEntry(
        partition_index=partition_index,
        order_uuid=command.order_uuid,
        fingerprint=command.fingerprint,
        accepted_at_ms=accepted_at_ms(command.accepted_at),
        fields=encode_command(command),
    )


def read_header(raw: Sequence[bytes]) -> EnvelopeHeader:
    """Return what can be read without the payload. Never raises: damaged parts are None."""
    fields = dict(zip(raw[0::2], raw[1::2], strict=False))
    merchant_no, mode = _merchant_and_mode(fields.get(b"m", b"")[: _CACHED_BYTES_MAX + 1])
    key = _ORDER_UUID.fullmatch(fields.get(b"k", b""))
    fingerprint = fields.get(b"f", b"")
    accepted = _ACCEPTED_AT_MS.fullmatch(fields.get(b"t", b""))
    return EnvelopeHeader(
        kind=fields.get(b"c"),
        merchant_no=merchant_no,
        mode=mode,
        order_uuid=None if key is None else UUID(int=int(key[0].replace(b"-", b""), 16)),
        fingerprint=fingerprint if len(fingerprint) == FINGERPRINT_BYTES else None,
        accepted_at=None if accepted is None else _datetime_of_ms(int(accepted[0])),
        reply_to=_reply_to(fields.get(b"r", b"\0")[: _CACHED_BYTES_MAX + 1]),
    )


# The same few merchants and gateways write nearly all messages. Longer texts than any of theirs are cut
# before they get here: they stay unreadable, and can't fill the memory.
@lru_cache(maxsize=4_096)
def _merchant_and_mode(raw: bytes) -> tuple[int, Mode] | tuple[None, None]:
    match = _MERCHANT_AND_MODE.fullmatch(raw)
    if match is None or int(match[1]) > NUMBER_MAX:
        return None, None
    mode = Mode.parse(match[2].decode())
    return (None, None) if mode is None else (int(match[1]), mode)


@lru_cache(maxsize=4_096)
def _reply_to(raw: bytes) -> str | None:
    return None if REPLY_TO.fullmatch(raw) is None else raw.decode()


def decode_fields(raw: Sequence[bytes], header: EnvelopeHeader | None = None) -> PaymentCommand:
    """Return the command of a stream message. Raises EnvelopeUnreadable, and nothing else.

    Everything is checked again: the stream is written by gateways of other versions, and by anyone
    who can reach it. Whoever has read the header of these very fields hands it in.
    """
    fields = fields_of(raw)
    header = header or read_header(raw)
    if header.kind != KIND_PAYMENT:
        raise EnvelopeUnreadable("command_unknown", "field c names no command of this version")
    stated_version(fields.get(b"v", b""))
    if header.merchant_no is None or header.mode is None:
        raise EnvelopeUnreadable("field_unreadable", "m")
    if header.order_uuid is None:
        raise EnvelopeUnreadable("field_unreadable", "k")
    if header.fingerprint is None:
        raise EnvelopeUnreadable("field_unreadable", "f")
    if header.accepted_at is None:
        raise EnvelopeUnreadable("field_unreadable", "t")
    if header.reply_to is None:
        raise EnvelopeUnreadable("field_unreadable", "r")
    payload = decode_payload(fields, _payload_decoder, bytes_max=PAYLOAD_BYTES_MAX)
    if len(payload.idempotency_key) != 16:
        raise EnvelopeUnreadable("value_out_of_range", "idempotency_key is not 16 bytes")
    command = PaymentCommand(
        order_uuid=header.order_uuid,
        idempotency_key=UUID(int=int.from_bytes(payload.idempotency_key, "big")),
        merchant_no=header.merchant_no,
        merchant_id=payload.merchant_id,
        mode=header.mode,
        seller_no=payload.seller_no,
        amount_minor=payload.amount_minor,
        currency=payload.currency,
        fee_minor=payload.fee_minor,
        payment_method=payload.payment_method,
        description=payload.description,
        buyer_json=payload.buyer_json,
        metadata_json=payload.metadata_json,
        fingerprint=header.fingerprint,
        accepted_at=header.accepted_at,
        api_version=payload.api_version,
        reply_to=header.reply_to,
        captures_manually=payload.captures_manually,
        hosted=None if payload.hosted is None else HostedPage(*payload.hosted),
    )
    if (problem := problem_of(command)) is not None:
        raise EnvelopeUnreadable("value_out_of_range", problem)
    return command


def stated_version(stated: bytes) -> None:
    """Raise EnvelopeUnreadable unless this version of the code can read what field ``v`` names."""
    if stated == VERSION_AND_FLAG_NOW:
        return
    if (match := _VERSION_AND_FLAG.fullmatch(stated)) is None:
        raise EnvelopeUnreadable("field_unreadable", "v")
    check_version(int(match[1]), int(match[2]))


def fields_of(raw: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return a message's fields by name. Raises EnvelopeUnreadable for a name without a value, or twice."""
    names = raw[0::2]
    if len(raw) % 2 != 0 or len(set(names)) != len(names):
        raise EnvelopeUnreadable("fields_malformed", f"{len(raw)} items, or a name twice")
    return dict(zip(names, raw[1::2], strict=True))


def decode_payload(
    fields: Mapping[bytes, bytes], decoder: msgspec.msgpack.Decoder[T], *, bytes_max: int
) -> T:
    """Return what field ``p`` holds. Raises EnvelopeUnreadable."""
    payload = fields.get(b"p")
    if payload is None:
        raise EnvelopeUnreadable("field_unreadable", "p")
    if len(payload) > bytes_max:
        raise EnvelopeUnreadable("payload_too_large", f"{len(payload)} bytes of {bytes_max}")
    try:
        return decoder.decode(payload)
    except DECODE_FAULTS as fault:
        raise EnvelopeUnreadable("payload_malformed", describe(fault)) from None


def _datetime_of_ms(milliseconds: int) -> datetime | None:
    is_past_all = milliseconds > _ACCEPTED_AT_MS_MAX
    return None if is_past_all else _EPOCH + milliseconds * _MILLISECOND
