"""From waiting work to a batch, from decisions to the rows of one flush and to the replies after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from actors.inbox import Work
from actors.replying import Reply
from actors.setting_aside import is_letter, known_of, letter_row, result_rows
from payments.decided import Batch, Decided
from payments.routing import Availability
from payments.rows import PersonalPart, PersonalRow
from payments.standing import PaymentStanding
from storage.ports import Flush, KnownOrders
from storage.sealing import encode_detail, seal


def batch_of(
    work: Work,
    known: KnownOrders,
    now: datetime,
    availability: Availability,
    standings: Sequence[PaymentStanding] = (),
) -> Batch:
    """What one partition decides on. ``known`` are the orders and operations that the ledger holds."""
    commands = [message.command for message in work.messages if message.command is not None]
    # Mostly none: so they are looked through for what else there may be, not each payment.
    others = [message for message in work.messages if message.command is None]
    return Batch(
        commands=commands,
        known=known_of(work.messages, known),
        operations=[message.operation for message in others if message.operation is not None],
        standings=standings,
        answers=work.answers,
        due=work.due,
        psp_events=[message.event for message in others if message.event is not None],
        checkouts=[message.checkout for message in others if message.checkout is not None],
        dead_letter_count=sum(
            not message.is_readable or message.action is not None for message in work.messages
        ),
        now=now,
        availability=availability,
    )


def replies_of(decided: Decided, work: Work) -> list[Reply]:
    """Tell each gateway which of its orders are in the books, also those that were there before."""
    ended = (*decided.closed.values(), *decided.ended_at_once)
    settled = [
        Reply.__new__(Reply, command.reply_to, command.order_uuid, is_settled=True)
        for command in (order.command for order in ended)
        if command.reply_to
    ]
    taken_in = [
        Reply.__new__(Reply, command.reply_to, command.order_uuid, is_settled=False)
        for command in (message.command for message in work.messages)
        if command is not None and command.reply_to
    ]
    others = [message for message in work.messages if message.command is None]
    taken_in += [
        Reply(reply_to=event.reply_to, order_uuid=event.event_uuid, is_settled=False)
        for event in (message.event for message in others)
        if event is not None and event.reply_to
    ]
    taken_in += [
        Reply(reply_to=operation.reply_to, order_uuid=operation.operation_uuid, is_settled=False)
        for operation in (message.operation for message in others)
        if operation is not None and operation.reply_to
    ]
    taken_in += [
        Reply(reply_to=checkout.reply_to, order_uuid=checkout.checkout_uuid, is_settled=False)
        for checkout in (message.checkout for message in others)
        if checkout is not None and checkout.reply_to
    ]
    return settled + taken_in


def flush_of(decisions: Iterable[Decided], work: Mapping[int, Work]) -> Flush:
    """Merge decisions of different partitions; each brings its own fence, its letters and its actions."""
    flush = Flush()
    for decided in decisions:
        flush.heads.append(decided.head_row())
        flush.orders.extend(decided.orders)
        flush.splits.extend(decided.splits)
        flush.attempts.extend(decided.attempts)
        flush.progress.extend(decided.progress)
        flush.timers.extend(decided.timers)
        flush.outcomes.extend(decided.outcomes)
        flush.transfers.extend(decided.transfers)
        flush.accounts.extend(decided.accounts)
        flush.slices.extend(decided.slices)
        flush.events.extend(decided.events)
        flush.refused.extend(decided.refused)
        flush.operations.extend(decided.operations)
        flush.standings.extend(decided.standing_rows())
        flush.disputes.extend(decided.disputes.values())
        flush.evidence_results.extend(decided.evidence)
        flush.psp_events.extend(decided.psp_events)
        flush.psp_event_results.extend(decided.psp_event_results)
        flush.checkouts.extend(decided.checkouts)
        flush.checkout_orders.extend(decided.checkout_orders)
        flush.personal.extend(_personal_rows(decided))
        if decided.dead_letter_count:
            part = work[decided.partition_index]
            flush.dead_letters.extend(map(letter_row, filter(is_letter, part.messages)))
            flush.letter_results.extend(result_rows(decided, part))
    return flush


def _personal_rows(decided: Decided) -> Iterable[PersonalRow]:
    detail, request_base = PersonalPart.DETAIL, PersonalPart.REQUEST_BASE.value
    # An order and its first attempt are written together: one row for both is a row less for each payment.
    opened = {order.order_no for order in decided.opened}
    for order in decided.opened:
        yield PersonalRow.__new__(
            PersonalRow,
            partition_index=decided.partition_index,
            order_no=order.order_no,
            part=detail,
            envelope=encode_detail(order.payment, order.attempt.request),
        )
    for order_no, reason in decided.reasons:
        yield PersonalRow.__new__(
            PersonalRow,
            partition_index=decided.partition_index,
            order_no=order_no,
            part=detail,
            envelope=seal(reason.encode()),
        )
    for order_no, attempt in decided.planned:
        if attempt.attempt_no == 1 and order_no in opened:
            continue
        yield PersonalRow.__new__(
            PersonalRow,
            partition_index=decided.partition_index,
            order_no=order_no,
            part=request_base + attempt.attempt_no,
            envelope=seal(attempt.request),
        )
