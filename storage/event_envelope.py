"""The envelope of a PSP's event on the stream: the fields of a command (storage.envelope), differently filled.

===== ===========================================================================================
field holds
===== ===========================================================================================
``c`` ``psp_webhook``
``m`` the PSP's name
``k`` the event's own name (payments.psp_events.event_uuid): not its order's, whose record stays its own
``f`` what stands for a fingerprint: repetitions of one event say the same
``v`` schema version, encryption
``t`` when a gateway had verified it
``r`` reply channel
``p`` payload, see ``_Payload``; which partition it is in follows from its order, or its payment
===== ===========================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from payments.attempts import ResultClass, is_storable_time
from payments.currencies import EXPONENTS
from payments.defects import InvariantViolation
from payments.disputes import DisputeState
from payments.identity import ATTEMPT_NO_MAX
from payments.money import AMOUNT_MINOR_MAX
from payments.psp_events import (
    EVENT_ID_CHARACTERS_MAX,
    PspEvent,
    event_fingerprint,
    event_uuid,
)
from storage.command_rules import REPLY_TO
from storage.envelope_fields import (
    VERSION_AND_FLAG_NOW,
    EnvelopeHeader,
    accepted_at_ms,
    decode_payload,
    fields_of,
    header_of,
    stated_version,
)
from storage.queue_ports import QueueEntry
from storage.sealing import EnvelopeUnreadable

KIND_PSP_WEBHOOK = b"psp_webhook"

# An event's texts are bounded below: with escapes it stays far under this.
PAYLOAD_BYTES_MAX = 16 * 1024
PSP_NAME_CHARACTERS_MAX = 64
REFERENCE_CHARACTERS_MAX = 255
CODE_CHARACTERS_MAX = 64
MESSAGE_CHARACTERS_MAX = 200


class _Payload(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Field ``p``, version 1. New fields go to the end with a default; readers skip others."""

    psp: str
    event_id: str
    order_uuid: bytes
    attempt_no: int
    result: int
    reference: str | None
    captured_minor: int
    currency: str | None
    failure_code: str | None
    decline_code: str | None
    message: str
    effective_at: datetime | None
    dispute_id: str | None = None
    dispute_state: int = 0
    disputed_minor: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Payload)


def event_entry(event: PspEvent, partition_index: int) -> QueueEntry:
    """Return an event as the append script takes it.

    Raises InvariantViolation for one that ``decode_event`` would refuse.
    """
    if (problem := problem_of_event(event)) is not None:
        raise InvariantViolation(f"an event that can't be queued: {problem}")
    fingerprint = event_fingerprint(event.psp, event.event_id)
    at_ms = accepted_at_ms(event.accepted_at)
    return QueueEntry(
        partition_index=partition_index,
        order_uuid=event.event_uuid,
        fingerprint=fingerprint,
        accepted_at_ms=at_ms,
        fields=(
            b"c", KIND_PSP_WEBHOOK,
            b"m", event.psp.encode(),
            b"k", str(event.event_uuid).encode(),
            b"f", fingerprint,
            b"v", VERSION_AND_FLAG_NOW,
            b"t", b"%d" % at_ms,
            b"r", event.reply_to.encode(),
            b"p", _encoder.encode(_payload_of(event)),
        ),
        is_event=True,
    )  # fmt: skip


def decode_event(raw: Sequence[bytes], header: EnvelopeHeader | None = None) -> PspEvent:
    """Return the event of a stream message. Raises EnvelopeUnreadable, and nothing else.

    Everything is checked again, as it is of a command.
    """
    fields = fields_of(raw)
    header = header or header_of(fields)
    if header.kind != KIND_PSP_WEBHOOK:
        raise EnvelopeUnreadable("command_unknown", "field c names no event of this version")
    stated_version(fields.get(b"v", b""))
    if header.order_uuid is None:
        raise EnvelopeUnreadable("field_unreadable", "k")
    if header.accepted_at is None:
        raise EnvelopeUnreadable("field_unreadable", "t")
    if header.reply_to is None:
        raise EnvelopeUnreadable("field_unreadable", "r")
    payload = decode_payload(fields, _decoder, bytes_max=PAYLOAD_BYTES_MAX)
    if len(payload.order_uuid) != 16:
        raise EnvelopeUnreadable("value_out_of_range", "order_uuid is not 16 bytes")
    event = PspEvent(
        event_uuid=header.order_uuid,
        psp=payload.psp,
        event_id=payload.event_id,
        order_uuid=UUID(bytes=payload.order_uuid),
        attempt_no=payload.attempt_no,
        result=payload.result,
        reference=payload.reference,
        captured_minor=payload.captured_minor,
        currency=payload.currency,
        failure_code=payload.failure_code,
        decline_code=payload.decline_code,
        message=payload.message,
        effective_at=payload.effective_at,
        accepted_at=header.accepted_at,
        dispute_id=payload.dispute_id,
        dispute_state=payload.dispute_state,
        disputed_minor=payload.disputed_minor,
        reply_to=header.reply_to,
    )
    if (problem := problem_of_event(event)) is not None:
        raise EnvelopeUnreadable("value_out_of_range", problem)
    return event


def problem_of_event(event: PspEvent) -> str | None:
    """Return the first rule that an event breaks, or None. The same for writing and reading."""
    texts = (
        ("psp", event.psp, 1, PSP_NAME_CHARACTERS_MAX),
        ("event_id", event.event_id, 1, EVENT_ID_CHARACTERS_MAX),
        ("reference", event.reference, 0, REFERENCE_CHARACTERS_MAX),
        ("failure_code", event.failure_code, 0, CODE_CHARACTERS_MAX),
        ("decline_code", event.decline_code, 0, CODE_CHARACTERS_MAX),
        ("message", event.message, 0, MESSAGE_CHARACTERS_MAX),
        ("dispute_id", event.dispute_id, 1, REFERENCE_CHARACTERS_MAX),
    )
    for name, text, shortest, longest in texts:
        if text is not None and not (shortest <= len(text) <= longest and text.isprintable()):
            return f"{name} is not {shortest}..{longest} printable characters"
    if not 1 <= event.attempt_no <= ATTEMPT_NO_MAX:
        return f"attempt_no is outside 1..{ATTEMPT_NO_MAX}"
    if event.result not in set(ResultClass):
        return "result is no class of answers"
    if not 0 <= event.captured_minor <= AMOUNT_MINOR_MAX:
        return f"captured_minor is outside 0..{AMOUNT_MINOR_MAX}"
    if event.currency is not None and event.currency not in EXPONENTS:
        return "currency is not one of ISO 4217"
    if event.effective_at is not None and not is_storable_time(event.effective_at):
        return "effective_at has no zone, or is no date in UTC"
    if event.event_uuid != event_uuid(event.psp, event.event_id):
        return "event_uuid does not follow from psp and event_id"
    if REPLY_TO.fullmatch(event.reply_to.encode(errors="replace")) is None:
        return "reply_to is not printable or too long"
    return _problem_of_dispute(event)


def _problem_of_dispute(event: PspEvent) -> str | None:
    states = {0} if event.dispute_id is None else set(DisputeState)
    if event.dispute_state not in states:
        return "dispute_state is no state of a dispute"
    if not 0 <= event.disputed_minor <= AMOUNT_MINOR_MAX:
        return f"disputed_minor is outside 0..{AMOUNT_MINOR_MAX}"
    return None


def _payload_of(event: PspEvent) -> _Payload:
    return _Payload(
        psp=event.psp,
        event_id=event.event_id,
        order_uuid=event.order_uuid.bytes,
        attempt_no=event.attempt_no,
        result=event.result,
        reference=event.reference,
        captured_minor=event.captured_minor,
        currency=event.currency,
        failure_code=event.failure_code,
        decline_code=event.decline_code,
        message=event.message,
        effective_at=event.effective_at,
        dispute_id=event.dispute_id,
        dispute_state=event.dispute_state,
        disputed_minor=event.disputed_minor,
    )
