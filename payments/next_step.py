"""What a PSP's answer means for an order: it ended, or it waits for a next step.

The ladder in ``after_answer`` is the specification. Two rules stand above it: an order ends only by a
definitive answer to its attempt's own key, or, while that attempt is clean, by our own policy; and
no step ever uses another key while the attempt is tainted.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from payments.attempts import Attempt, PspAnswer, ResultClass
from payments.lifecycle import PaymentEvent, PaymentState
from payments.open_order import OpenOrder
from payments.rows import TimerKind

# Keys are not sent in the last hour of the PSP's memory: its clock and ours need not agree.
KEY_LIFETIME_MARGIN = timedelta(hours=1)

# A PSP that asks for more is looked at again after an hour: it may have meant milliseconds.
RETRY_AFTER_S_MAX = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPolicy:
    """When to try again. All times in milliseconds unless named otherwise."""

    retry_ms_first: int = 200
    """The upper end of the first wait; it doubles with each try."""
    retry_ms_max: int = 10_000
    """A PSP that comes back is found within ten seconds, and asked by one order at most this often."""
    action_poll_ms: int = 1_000
    """How often a buyer's pending action is looked up while no webhook tells of it."""
    action_lifetime_s: int = 900
    """How long a buyer may take for an action; then the key is canceled at the PSP."""
    not_sent_age_s_max: int = 86_400
    """After a day of proven "did not run", the order fails as psp_unavailable: the buyer has left."""

    def wait_ms(self, order: OpenOrder, retry_after_s: float | None) -> int:
        """Exponential with jitter in its upper half, never sooner than the PSP asked for.

        The jitter comes from the order's own id, so that decisions stay reproducible.
        """
        doubled = self.retry_ms_first << min(max(order.attempt.try_count - 1, 0), 16)
        ceiling = min(doubled, self.retry_ms_max)
        seed = order.command.order_uuid.bytes + order.attempt.try_count.to_bytes(4, "big")
        draw = int.from_bytes(hashlib.blake2b(seed, digest_size=4).digest(), "big")
        jittered = ceiling // 2 + draw % (ceiling // 2 + 1)
        asked_for = 0
        if retry_after_s is not None and retry_after_s > 0:
            # Rounded up: a try a fraction of a millisecond early would be refused again.
            asked_for = int(min(retry_after_s, RETRY_AFTER_S_MAX) * 1000) + 1
        return max(jittered, asked_for)


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


def after_answer(
    order: OpenOrder,
    step: TimerKind,
    answer: PspAnswer,
    *,
    now: datetime,
    epoch: int,
    key_lifetime_s: int,
    policy: StepPolicy,
) -> Ended | Waiting:
    """Decide what the answer to ``step`` means. ``now`` is the ledger's time."""
    answer = answer.storable()
    order = _with_try(order, step, answer)
    match answer.result:
        case ResultClass.APPROVED:
            return _approved(order, answer, now, policy)
        case ResultClass.DECLINED_FINAL:
            return Ended(
                event=PaymentEvent.DECLINED,
                psp_reference=answer.reference or order.psp_reference,
                failure_code="declined",
                decline_code=answer.decline_code,
                failure_message=answer.message or "The payment was declined.",
                effective_at=answer.effective_at,
            )
        case ResultClass.CANCELED:
            return _canceled(order, answer)
        case ResultClass.REQUIRES_ACTION:
            return _requires_action(order, step, answer, now, policy)
        case ResultClass.NOT_SENT:
            age = _unrun_age(order, now=now, key_lifetime_s=key_lifetime_s)
            is_too_old = age > timedelta(seconds=policy.not_sent_age_s_max)
            if order.attempt.is_clean_for(epoch) and is_too_old:
                return Ended(
                    event=PaymentEvent.DECLINED,
                    failure_code="psp_unavailable",
                    failure_message="No payment provider could run the payment in time.",
                )
            return _again(order, step, now, policy.wait_ms(order, answer.retry_after_s))
        case ResultClass.UNKNOWN:
            return _unknown(order, step, answer, now, key_lifetime_s, policy)


def may_send(order: OpenOrder, *, now: datetime, key_lifetime_s: int) -> bool:
    """Whether the PSP still surely remembers the attempt's key."""
    return now < send_before(order.attempt, key_lifetime_s)


def send_before(attempt: Attempt, key_lifetime_s: int) -> datetime:
    """The ledger's time from which on the attempt's key must not be sent any more."""
    return attempt.created_at + _sendable_for(key_lifetime_s)


def _sendable_for(key_lifetime_s: int) -> timedelta:
    return max(timedelta(), timedelta(seconds=key_lifetime_s) - KEY_LIFETIME_MARGIN)


def _unrun_age(order: OpenOrder, *, now: datetime, key_lifetime_s: int) -> timedelta:
    """How long a clean order has been tried, at least, also under the keys before this one.

    A clean attempt follows another only once that one's key was too old to send.
    """
    earlier = (order.attempt.attempt_no - 1) * _sendable_for(key_lifetime_s)
    return earlier + (now - order.attempt.created_at)


def _with_try(order: OpenOrder, step: TimerKind, answer: PspAnswer) -> OpenOrder:
    """Count the try. Asking about a key runs nothing, so it taints only by showing that the PSP has it."""
    attempt = order.attempt
    proves_nothing = answer.result in (ResultClass.NOT_SENT, ResultClass.UNKNOWN)
    counted = (
        attempt._replace(try_count=attempt.try_count + 1)
        if step is not TimerKind.SEND and proves_nothing
        else attempt.after_try(answer.result)
    )
    return order._replace(attempt=counted, psp_reference=answer.reference or order.psp_reference)


def _approved(
    order: OpenOrder, answer: PspAnswer, now: datetime, policy: StepPolicy
) -> Ended | Waiting:
    command = order.command
    if answer.captured_minor != command.amount_minor or answer.currency != command.currency:
        # The PSP moved other money than we asked for. Nothing we could book is true, so it stays
        # unknown, is asked again, and is left to a person.
        unclear = order._replace(is_outcome_known=False)
        return _again(unclear, TimerKind.QUERY, now, policy.retry_ms_max)
    return Ended(
        event=PaymentEvent.SUCCEEDED,
        captured_minor=answer.captured_minor,
        psp_reference=answer.reference or order.psp_reference,
        effective_at=answer.effective_at,
    )


def _canceled(order: OpenOrder, answer: PspAnswer) -> Ended:
    is_expired = order.action_expires_at is not None
    return Ended(
        event=PaymentEvent.EXPIRED if is_expired else PaymentEvent.CANCELED,
        psp_reference=answer.reference or order.psp_reference,
        effective_at=answer.effective_at,
    )


def _requires_action(
    order: OpenOrder, step: TimerKind, answer: PspAnswer, now: datetime, policy: StepPolicy
) -> Waiting:
    expires_at = order.action_expires_at or now + timedelta(seconds=policy.action_lifetime_s)
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
        delay_ms = policy.wait_ms(order, answer.retry_after_s) if step is TimerKind.CANCEL else 0
        return Waiting(order=waiting, step=TimerKind.CANCEL, delay_ms=delay_ms, event=event)
    left_ms = int((expires_at - now).total_seconds() * 1000) + 1
    return Waiting(
        order=waiting,
        step=TimerKind.QUERY,
        delay_ms=min(policy.action_poll_ms, left_ms),
        event=event,
    )


def _unknown(
    order: OpenOrder,
    step: TimerKind,
    answer: PspAnswer,
    now: datetime,
    key_lifetime_s: int,
    policy: StepPolicy,
) -> Waiting:
    delay_ms = policy.wait_ms(order, answer.retry_after_s)
    if order.status is PaymentState.REQUIRES_ACTION:
        # The action stands as it was; only our look at it failed.
        is_over = order.action_expires_at is not None and now >= order.action_expires_at
        return _again(order, TimerKind.CANCEL if is_over else TimerKind.QUERY, now, delay_ms)
    unclear = order._replace(is_outcome_known=False)
    if step is TimerKind.QUERY and may_send(order, now=now, key_lifetime_s=key_lifetime_s):
        # The PSP knows nothing yet, which proves nothing. Its own key is safe to send again.
        return _again(unclear, TimerKind.SEND, now, delay_ms)
    return _again(unclear, TimerKind.QUERY, now, delay_ms)


def _again(order: OpenOrder, step: TimerKind, now: datetime, delay_ms: int) -> Waiting:
    retry_at = now + timedelta(milliseconds=delay_ms)
    shown = None if order.status is PaymentState.REQUIRES_ACTION else retry_at
    return Waiting(order=order._replace(next_retry_at=shown), step=step, delay_ms=delay_ms)
