"""Stream items as owners see them: raw, or decoded as far as they can be."""

from __future__ import annotations

from collections.abc import Sequence

from payments.checkouts import Checkout
from payments.commands import OperationCommand, PaymentCommand
from payments.psp_events import PspEvent
from storage.checkout_envelope import KIND_CHECKOUT, decode_checkout
from storage.envelope import EnvelopeUnreadable, decode_fields, decode_named, read_header
from storage.envelope_fields import by_name, check_names, header_of
from storage.event_envelope import KIND_PSP_WEBHOOK, decode_event
from storage.operation_envelope import OPERATION_KINDS, decode_operation
from storage.queue_ports import KeyRecord, Message


def message_of(
    raw: Sequence[bytes],
    *,
    partition_index: int,
    stream_id: str,
    generation: int,
    read_at_s: float,
) -> Message:
    """Return a stream item as owners see it, decoded as far as it can be."""
    fields = by_name(raw)
    header = header_of(fields)
    command: PaymentCommand | None = None
    event: PspEvent | None = None
    operation: OperationCommand | None = None
    checkout: Checkout | None = None
    reason = ""
    try:
        if header.kind == KIND_PSP_WEBHOOK:
            event = decode_event(raw, header)
        elif header.kind in OPERATION_KINDS:
            operation = decode_operation(raw, header)
        elif header.kind == KIND_CHECKOUT:
            checkout = decode_checkout(raw, header)
        else:
            check_names(raw, fields)
            command = decode_named(fields, header)
    except EnvelopeUnreadable as unreadable:
        reason = str(unreadable)
    return Message(
        partition_index=partition_index,
        stream_id=stream_id,
        generation=generation,
        read_at_s=read_at_s,
        order_uuid=header.order_uuid,
        fingerprint=header.fingerprint,
        command=command,
        reason=reason,
        raw=tuple(raw),
        event=event,
        operation=operation,
        checkout=checkout,
    )


def key_record(fingerprint: bytes, accepted_at_ms: int, raw: Sequence[bytes] | None) -> KeyRecord:
    """Return a key record with what its message says: nothing, where it is gone or can't be decoded.

    Its owner will set aside what can't be: for who asks, the record alone is the answer.
    """
    command: PaymentCommand | None = None
    checkout: Checkout | None = None
    operation: OperationCommand | None = None
    if raw is not None:
        try:
            header = read_header(raw)
            if header.kind == KIND_CHECKOUT:
                checkout = decode_checkout(raw, header)
            elif header.kind in OPERATION_KINDS:
                operation = decode_operation(raw, header)
            else:
                command = decode_fields(raw, header)
        except EnvelopeUnreadable:
            pass
    return KeyRecord(
        fingerprint=fingerprint,
        accepted_at_ms=accepted_at_ms,
        command=command,
        checkout=checkout,
        operation=operation,
    )


def raw_message(
    raw: Sequence[bytes],
    *,
    partition_index: int,
    stream_id: str,
    generation: int,
    read_at_s: float,
) -> Message:
    """Return a stream item whose fields nobody has looked at."""
    return Message(
        partition_index=partition_index,
        stream_id=stream_id,
        generation=generation,
        read_at_s=read_at_s,
        order_uuid=None,
        fingerprint=None,
        command=None,
        reason="",
        raw=tuple(raw),
    )


def decoded(message: Message) -> Message:
    """Return a raw message decoded as far as it can be."""
    return message_of(
        message.raw,
        partition_index=message.partition_index,
        stream_id=message.stream_id,
        generation=message.generation,
        read_at_s=message.read_at_s,
    )._replace(action=message.action)
