"""What a PSP's answer means for an order: it ended, or it waits for a next step.

The ladder in ``after_answer`` is the specification. Two rules stand above it: an order ends only by a
definitive answer to its attempt's own key, or, while that attempt is clean, by our own policy; and
no step ever uses another key while the attempt is tainted.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from payments.attempts import Attempt, PspAnswer, ResultClass
from payments.commands import PaymentCommand
from payments.lifecycle import PaymentEvent, PaymentState
from payments.open_order import OpenOrder
from payments.operations import Operation
from payments.parking import ParkReason
from payments.psp_terms import PspTerms
from payments.retry_policy import RetryPolicy, RetryRule, Strategy
from payments.rows import TimerKind

# Keys are not sent in the last hour of the PSP's memory: its clock and ours need not agree.
KEY_LIFETIME_MARGIN = timedelta(hours=1)

# When an owner looks again at an attempt that should be under way: its successor then sends it.
SEND_UNSEEN_MS = 1_000

# Between two requests to cancel a key of which nothing is known. Nobody waits for a cancellation.
CANCEL_WAIT_MS = 5_000

# A rule without waits would ask in a circle.
QUERY_WAIT_MS_MIN = 100


class Ended(NamedTuple):
    """The order reached its end."""

    event: PaymentEvent
    captured_minor: int = 0
    psp_reference: str | None = None
    failure_code: str | None = None
    decline_code: str | None = None
    failure_message: str | None = None
    effective_at: datetime | None = None


class Waiting(NamedTuple):
    """The order stays open; ``step`` follows in ``delay_ms``."""

    order: OpenOrder
    step: TimerKind
    delay_ms: int
    event: PaymentEvent | None = None
    is_called_at_once: bool = False
    """The call follows the flush that keeps the order as it is now; its timer is for a successor."""


def after_answer(
    order: OpenOrder,
    step: TimerKind,
    answer: PspAnswer,
    *,
    now: datetime,
    epoch: int,
    terms: PspTerms,
    policy: RetryPolicy,
) -> Ended | Waiting:
    """Decide what the answer to ``step`` means. ``now`` is the ledger's time."""
    answer = answer.storable()
    if answer.result is ResultClass.APPROVED and _is_as_asked(order, answer):
        # An end counts no tries: no row of it tells them.
        return _approved(order, answer)
    answer = _to_operation(order, answer)
    if _is_first_half(order, step, answer):
        # Nothing ran, and nothing can until the next send: that one is the try.
        prepared = order._replace(psp_reference=answer.reference, parked=None)
        return Waiting(prepared, step, SEND_UNSEEN_MS, is_called_at_once=True)
    order = _with_try(order, step, answer)
    match answer.result:
        case ResultClass.APPROVED:
            # The PSP moved other money than we asked for. Nothing we could book is true, so it stays
            # unknown, is asked again, and is left to a person.
            unclear = _unclear(order)
            return _again(unclear, TimerKind.QUERY, now, policy.unknown.wait_ms(unclear))
        case ResultClass.DECLINED_FINAL:
            return Ended(
                event=PaymentEvent.DECLINED,
                psp_reference=answer.reference or order.psp_reference,
                failure_code=answer.failure_code,
                decline_code=answer.decline_code,
                failure_message=answer.message or "The payment was declined.",
                effective_at=answer.effective_at,
            )
        case ResultClass.CANCELED:
            return _canceled(order, step, answer, now)
        case ResultClass.REQUIRES_ACTION:
            return _requires_action(order, step, answer, now, policy)
        case ResultClass.NOT_SENT if order.is_outcome_known:
            if order.attempt.is_clean_for(epoch) and _is_over(policy.not_sent, order, now):
                return _UNAVAILABLE
            return _again(order, step, now, policy.not_sent.wait_ms(order, answer.retry_after_s))
        case ResultClass.NOT_SENT | ResultClass.UNKNOWN | ResultClass.PREPARED:
            return _unknown(order, step, answer, now, terms, policy)


def _is_first_half(order: OpenOrder, step: TimerKind, answer: PspAnswer) -> bool:
    if answer.result is not ResultClass.PREPARED:
        return False
    is_news = order.psp_reference is None and answer.reference is not None
    is_sent = step is TimerKind.SEND and order.status is PaymentState.PROCESSING
    return is_news and is_sent


def after_refusal(
    order: OpenOrder,
    reason: ParkReason,
    *,
    wait_ms: int,
    now: datetime,
    epoch: int,
    policy: RetryPolicy,
) -> Ended | Waiting:
    """Park an order whose call was not made, for ``wait_ms`` at least. Nothing was tried, so nothing is counted."""
    if order.attempt.is_clean_for(epoch) and _is_over(policy.psp_down, order, now):
        return _UNAVAILABLE
    delay_ms = max(policy.psp_down.wait_ms(order), wait_ms)
    return _again(order._replace(parked=reason), TimerKind.RESUME, now, delay_ms)


_UNAVAILABLE = Ended(
    event=PaymentEvent.DECLINED,
    failure_code="psp_unavailable",
    failure_message="No payment provider could run the payment in time.",
)


def _is_over(rule: RetryRule, order: OpenOrder, now: datetime) -> bool:
    age_s = (now - order.tried_since).total_seconds()
    return rule.is_over(try_count=order.attempt.try_count, age_s=age_s)


def may_send(order: OpenOrder, *, now: datetime, key_lifetime_s: int) -> bool:
    """Whether the PSP still surely remembers the attempt's key."""
    return now < send_before(order.attempt, key_lifetime_s)


def send_before(attempt: Attempt, key_lifetime_s: int) -> datetime:
    """The ledger's time from which on the attempt's key must not be sent any more."""
    return attempt.created_at + _sendable_for(key_lifetime_s)


# As many as there are PSPs with promises of their own; asked for each call.
@lru_cache(maxsize=64)
def _sendable_for(key_lifetime_s: int) -> timedelta:
    return max(timedelta(), timedelta(seconds=key_lifetime_s) - KEY_LIFETIME_MARGIN)


def _with_try(order: OpenOrder, step: TimerKind, answer: PspAnswer) -> OpenOrder:
    """Count the try. Asking about a key runs nothing, so it taints only by showing that the PSP has it."""
    attempt = order.attempt
    proves_nothing = answer.result in (ResultClass.NOT_SENT, ResultClass.UNKNOWN)
    counted = (
        attempt._replace(try_count=attempt.try_count + 1)
        if step is not TimerKind.SEND and proves_nothing
        else attempt.after_try(answer.result)
    )
    reference = answer.reference or order.psp_reference
    return order._replace(attempt=counted, psp_reference=reference, parked=None)


def _to_operation(order: OpenOrder, answer: PspAnswer) -> PspAnswer:
    """No capture, void or refund has an action of the buyer's: a PSP that says so tells nothing."""
    if answer.result is ResultClass.REQUIRES_ACTION and order.operation is not None:
        return answer._replace(result=ResultClass.UNKNOWN)
    return answer


def _is_as_asked(order: OpenOrder, answer: PspAnswer) -> bool:
    """Whether what was approved is what was asked for, to the minor unit."""
    command = order.command
    if isinstance(command, Operation):
        # What is given back of an authorization is whatever was left of it; no money moves.
        is_whole = answer.captured_minor == command.amount_minor
        return (is_whole or not command.kind.moves_money) and answer.currency == command.currency
    asked = (0, command.amount_minor) if command.captures_manually else (command.amount_minor, 0)
    told = (answer.captured_minor, answer.authorized_minor)
    return told == asked and answer.currency == command.currency


def _approved(order: OpenOrder, answer: PspAnswer) -> Ended:
    is_hold = isinstance(order.command, PaymentCommand) and order.command.captures_manually
    return Ended.__new__(
        Ended,
        event=PaymentEvent.AUTHORIZED if is_hold else PaymentEvent.SUCCEEDED,
        captured_minor=answer.captured_minor,
        psp_reference=answer.reference or order.psp_reference,
        effective_at=answer.effective_at,
    )


def _canceled(order: OpenOrder, step: TimerKind, answer: PspAnswer, now: datetime) -> Ended:
    """Expired where we had it canceled at the buyer's deadline; before that the buyer did it.

    An operation has no buyer: under a key that never runs any more it was not done, and is told as failed.
    """
    if order.operation is not None:
        return _UNAVAILABLE._replace(failure_message="The provider did not run it, and never will.")
    deadline = order.action_expires_at
    is_expired = deadline is not None and (step is TimerKind.CANCEL or now >= deadline)
    return Ended(
        event=PaymentEvent.EXPIRED if is_expired else PaymentEvent.CANCELED,
        psp_reference=answer.reference or order.psp_reference,
        effective_at=answer.effective_at,
    )


def _requires_action(
    order: OpenOrder, step: TimerKind, answer: PspAnswer, now: datetime, policy: RetryPolicy
) -> Waiting:
    expires_at = order.action_expires_at or now + timedelta(
        seconds=policy.requires_action.age_s_max
    )
    is_news = order.status is not PaymentState.REQUIRES_ACTION
    waiting = order._replace(
        status=PaymentState.REQUIRES_ACTION,
        is_outcome_known=True,
        next_action_url=answer.next_action_url or order.next_action_url,
        action_expires_at=expires_at,
        next_retry_at=None,
    )
    event = PaymentEvent.ACTION_REQUIRED if is_news else None
    if step is TimerKind.CANCEL or now >= expires_at:
        # Canceled is what the PSP confirms, so an unconfirmed cancel is asked for again.
        again_ms = policy.not_sent.wait_ms(order, answer.retry_after_s)
        delay_ms = again_ms if step is TimerKind.CANCEL else 0
        return Waiting(order=waiting, step=TimerKind.CANCEL, delay_ms=delay_ms, event=event)
    left_ms = int((expires_at - now).total_seconds() * 1000) + 1
    return Waiting(
        order=waiting,
        step=TimerKind.QUERY,
        delay_ms=min(policy.requires_action.wait_ms(order), left_ms),
        event=event,
    )


def _unknown(
    order: OpenOrder,
    step: TimerKind,
    answer: PspAnswer,
    now: datetime,
    terms: PspTerms,
    policy: RetryPolicy,
) -> Waiting:
    if order.status is PaymentState.REQUIRES_ACTION:
        # The action stands as it was; only our look at it failed.
        is_over = order.action_expires_at is not None and now >= order.action_expires_at
        delay_ms = policy.not_sent.wait_ms(order, answer.retry_after_s)
        return _again(order, TimerKind.CANCEL if is_over else TimerKind.QUERY, now, delay_ms)
    order = _unclear(order)
    rule = policy.unknown
    delay_ms = rule.wait_ms(order, answer.retry_after_s)
    may_try = may_send(order, now=now, key_lifetime_s=terms.key_lifetime_s)
    # It was asked for and shows no end, and its key runs it no more: canceled by its reference it has one.
    is_stuck = terms.prepares and (answer.is_key_spent or (step is TimerKind.QUERY and not may_try))
    if (rule.strategy is Strategy.CANCEL or is_stuck) and _can_cancel(order, terms):
        return _again(order, TimerKind.CANCEL, now, max(delay_ms, CANCEL_WAIT_MS))
    if step is TimerKind.QUERY and may_try and not _is_over(rule, order, now):
        # The PSP knows nothing yet, which proves nothing. Its own key is safe to send again.
        return _again(order, TimerKind.SEND, now, delay_ms)
    return _again(order, TimerKind.QUERY, now, max(delay_ms, QUERY_WAIT_MS_MIN))


def _can_cancel(order: OpenOrder, terms: PspTerms) -> bool:
    """Whether canceling makes sure that the attempt never charges."""
    # The reference is that of the charge: a capture's or a refund's trouble must not cost the charge.
    is_by_reference = terms.prepares and order.operation is None and order.psp_reference is not None
    return terms.can_burn_key or is_by_reference


def _unclear(order: OpenOrder) -> OpenOrder:
    """The order with an outcome that is not known: from here on another rule counts, from its first try."""
    if not order.is_outcome_known:
        return order
    attempt = order.attempt._replace(try_count=1)
    return order._replace(attempt=attempt, is_outcome_known=False)


def _again(order: OpenOrder, step: TimerKind, now: datetime, delay_ms: int) -> Waiting:
    retry_at = now + timedelta(milliseconds=delay_ms)
    shown = None if order.status is PaymentState.REQUIRES_ACTION else retry_at
    return Waiting(order=order._replace(next_retry_at=shown), step=step, delay_ms=delay_ms)
