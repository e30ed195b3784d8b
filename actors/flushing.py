"""From decisions to rows: puts several partitions' decisions into one flush."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from payments.decided import Decided
from payments.rows import DeadLetterRow, PersonalPart, PersonalRow
from storage.envelope import read_header
from storage.ports import Flush, Message
from storage.sealing import encode_detail, seal


def flush_of(decisions: Iterable[Decided], unreadable: Iterable[Message]) -> Flush:
    """Merge decisions of different partitions; each brings its own fence. Unreadable messages become dead letters."""
    flush = Flush()
    for decided in decisions:
        flush.heads.append(decided.head_row())
        flush.orders.extend(decided.orders)
        flush.attempts.extend(decided.attempts)
        flush.progress.extend(decided.progress)
        flush.timers.extend(decided.timers)
        flush.outcomes.extend(decided.outcomes)
        flush.transfers.extend(decided.transfers)
        flush.accounts.extend(decided.accounts)
        flush.slices.extend(decided.slices)
        flush.events.extend(decided.events)
        flush.refused.extend(decided.refused)
        flush.personal.extend(_personal_rows(decided))
    flush.dead_letters.extend(_dead_letter(message) for message in unreadable)
    return flush


def _personal_rows(decided: Decided) -> Iterable[PersonalRow]:
    for order in decided.opened:
        yield PersonalRow(
            partition_index=decided.partition_index,
            order_no=order.order_no,
            part=PersonalPart.DETAIL,
            envelope=encode_detail(order.command),
        )
    for order_no, attempt in decided.planned:
        yield PersonalRow(
            partition_index=decided.partition_index,
            order_no=order_no,
            part=PersonalPart.REQUEST_BASE + attempt.attempt_no,
            envelope=seal(attempt.request),
        )


def _dead_letter(message: Message) -> DeadLetterRow:
    header = read_header(message.raw)
    return DeadLetterRow(
        partition_index=message.partition_index,
        stream_id=message.stream_id,
        order_uuid=message.order_uuid,
        merchant_no=header.merchant_no,
        mode=header.mode,
        reason="unreadable",
        detail=message.reason,
        raw_envelope=seal(msgspec.msgpack.encode(message.raw)),
    )
