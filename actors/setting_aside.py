"""What of a batch can't be taken in, and what operators want done with what could not: their rows.

A message that can't be decoded, or that no decision or table can hold, becomes a dead letter. Where its
header tells which order it is, the order is kept as set aside, so that who asks for it gets an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from actors.inbox import Work
from payments import fingerprint
from payments.answer import API_VERSION
from payments.decided import Decided
from payments.rows import DeadLetterRow, LetterResult, LetterResultRow
from storage.envelope import KIND_PAYMENT, read_header
from storage.letter_envelope import sealed_raw
from storage.operation_envelope import OPERATION_KINDS
from storage.ports import KnownOrders
from storage.queue_messages import decoded
from storage.queue_ports import LetterAction, Message

# Reasons of our own, beside those of the envelope (storage.envelope): docs/operations.md lists all.
HANDLER_DEFECT = "handler_defect"
KILLS_HOST = "kills_host"

# A replayed or discarded message stands on no connection: nobody may remove by it.
NO_GENERATION = -1


def known_of(messages: Iterable[Message], known: KnownOrders) -> Mapping[UUID, bytes]:
    """Return the fingerprints that the commands of a batch are held against.

    An order that was set aside counts as known, but for two messages: the replay of its own letter,
    and, unless it is held, a message that says the same and can be read: the order goes on by it.
    """
    if not known.set_aside:
        return known.fingerprints
    fingerprints = dict(known.fingerprints)
    seen: set[UUID] = set()
    for message in messages:
        command = message.command or message.operation
        if command is None or command.order_uuid in seen:
            continue
        seen.add(command.order_uuid)
        aside = known.set_aside.get(command.order_uuid)
        if aside is None:
            continue
        if message.action is not None:
            goes_on = message.action.dead_letter_no == aside.dead_letter_no
        else:
            goes_on = (
                not aside.is_held
                and aside.fingerprint is not None
                and fingerprint.same(aside.fingerprint, command.fingerprint)
            )
        if not goes_on:
            fingerprints[command.order_uuid] = aside.fingerprint or command.fingerprint
    return fingerprints


def is_letter(message: Message) -> bool:
    """Whether a message of the stream is to become a dead letter."""
    # Most are payments, which this tells at once.
    return message.command is None and not message.is_readable and message.action is None


def refused(message: Message, reason: str, detail: str) -> Message:
    """Return a message as one that can't be taken in."""
    return message._replace(
        command=None, event=None, operation=None, checkout=None, reason=f"{reason}: {detail}"
    )


def letter_row(message: Message) -> DeadLetterRow:
    """Return a message's row. Its texts name fields, types and limits, never contents."""
    header = read_header(message.raw)
    reason, _, detail = message.reason.partition(": ")
    print_of = header.fingerprint or b""
    is_order = (
        (header.kind == KIND_PAYMENT or header.kind in OPERATION_KINDS)
        and header.order_uuid is not None
        and header.merchant_no is not None
        and header.mode is not None
    )
    return DeadLetterRow(
        partition_index=message.partition_index,
        stream_id=message.stream_id,
        order_uuid=header.order_uuid,
        merchant_no=header.merchant_no,
        mode=header.mode,
        reason=reason,
        detail=detail,
        attempt_count=message.attempt_count,
        raw_envelope=sealed_raw(message.raw),
        is_order=is_order,
        # One of another version can't be compared with anything: as good as none.
        fingerprint=print_of if fingerprint.is_readable(print_of) else None,
        api_version=API_VERSION,
        accepted_at=header.accepted_at,
    )


def action_message(action: LetterAction, read_at_s: float) -> Message:
    """Return an operator's action as the partition's inbox takes it."""
    raw = action.raw or ()
    header = read_header(raw)
    message = Message(
        partition_index=action.partition_index,
        stream_id=action.stream_id,
        generation=NO_GENERATION,
        read_at_s=read_at_s,
        order_uuid=header.order_uuid,
        fingerprint=header.fingerprint,
        command=None,
        reason="",
        raw=raw,
        action=action,
    )
    return decoded(message) if action.is_replay and not action.is_closed else message


def result_rows(decided: Decided, work: Work) -> Iterable[LetterResultRow]:
    """Return what becomes of the operators' actions in this batch."""
    taken_in = {order.command.order_uuid for order in decided.opened}
    taken_in |= {operation.operation_uuid for operation in decided.operations}
    for message in work.messages:
        action = message.action
        if action is None:
            continue
        result, detail = _result(message, action, taken_in)
        yield LetterResultRow(
            action_no=action.action_no,
            dead_letter_no=action.dead_letter_no,
            partition_index=action.partition_index,
            batch_seq=decided.head_before.batch_seq + 1,
            result=result,
            detail=detail,
        )


def _result(
    message: Message, action: LetterAction, taken_in: set[UUID]
) -> tuple[LetterResult, str]:
    if action.is_closed:
        return LetterResult.REFUSED, "it was replayed or discarded before"
    if not action.is_replay:
        if message.order_uuid in taken_in:
            # In this very flush: whoever said that it fails has not seen that it goes on.
            return LetterResult.REFUSED, "a repeat has just brought its order"
        return LetterResult.DISCARDED, ""
    if message.event is not None or message.checkout is not None:
        return LetterResult.REPLAYED, ""
    if not message.is_readable:
        return LetterResult.REFUSED, message.reason
    if message.order_uuid not in taken_in:
        return LetterResult.REFUSED, "the books hold an order of that key already"
    return LetterResult.REPLAYED, ""
