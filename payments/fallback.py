"""Whether another PSP may be asked: only once this one surely neither charged nor will.

A clean attempt never ran. A decline is the PSP's last word on a key if that key was sent once, or if
the PSP keeps its word for every later send of it. Nothing else is proof: an attempt that may have
run keeps its order.
"""

from __future__ import annotations

from datetime import datetime

from payments.attempts import PspAnswer, ResultClass
from payments.lifecycle import PaymentState
from payments.open_order import OpenOrder
from payments.psp_terms import PspTerms
from payments.retry_policy import RetryPolicy
from payments.rows import TimerKind

_FREEING = frozenset({ResultClass.NOT_SENT, ResultClass.DECLINED_FINAL})


def may_fall_back(
    order: OpenOrder,
    step: TimerKind,
    answer: PspAnswer,
    *,
    now: datetime,
    epoch: int,
    terms: PspTerms,
    policy: RetryPolicy,
) -> bool:
    """Whether this answer frees the order for another PSP. ``order`` is as it was before the answer."""
    if answer.result not in _FREEING:
        return False
    attempt = order.attempt
    if attempt.attempt_no >= policy.attempts_max or order.status is not PaymentState.PROCESSING:
        return False
    if order.operation is not None:
        # Bound to the PSP and account of its payment's charge: nobody else can do it.
        return False
    is_clean = attempt.is_clean_for(epoch)
    if answer.result is ResultClass.NOT_SENT:
        has_tried = answer.is_key_spent or attempt.try_count + 1 >= policy.fallback_tries
        return is_clean and step is TimerKind.SEND and has_tried
    age_s = (now - order.tried_since).total_seconds()
    is_over = policy.soft_decline.is_over(try_count=attempt.attempt_no, age_s=age_s)
    is_soft = answer.decline_code in policy.soft_decline_codes
    return is_soft and not is_over and (is_clean or terms.replays_declines)


def may_leave(order: OpenOrder, *, epoch: int, policy: RetryPolicy) -> bool:
    """Whether an order that waits may go to another PSP now: it never ran here."""
    if order.operation is not None:
        return False
    is_young = order.attempt.attempt_no < policy.attempts_max
    is_at_rest = order.status is PaymentState.PROCESSING and order.is_outcome_known
    return is_young and is_at_rest and order.attempt.is_clean_for(epoch)
