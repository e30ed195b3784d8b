"""Stripe's objects, as far as the simulator shows them. Pure.

Written from Stripe's documentation, and shares nothing with the connector that reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from psp.simulator.records import ChangeRecord, IntentRecord
from psp.simulator.replies import DID_NOT_RUN, FAILED, IN_PROGRESS, LOCKED, Reply
from psp.simulator.stripe_intents import StripeIntents
from psp.simulator.wire import AnswerBody, ChargeStatus, SettlementRow

_STATUSES: Mapping[ChargeStatus, str] = {
    ChargeStatus.CAPTURED: "succeeded",
    ChargeStatus.AUTHORIZED: "requires_capture",
    ChargeStatus.REQUIRES_ACTION: "requires_action",
    ChargeStatus.DECLINED: "requires_payment_method",
    ChargeStatus.VOIDED: "canceled",
    ChargeStatus.CANCELED: "canceled",
}

# Of these no charge shows: nothing was authorized.
_WITHOUT_CHARGE = frozenset({ChargeStatus.REQUIRES_ACTION, ChargeStatus.CANCELED})


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeAnswer:
    """One answer before it is bytes."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        return msgspec.json.encode(self.body)


def intent_shape(
    intents: StripeIntents, intent: IntentRecord, charge: AnswerBody | None, *, is_burned: bool
) -> dict[str, Any]:
    """Return a PaymentIntent; ``charge`` is how its charge stands, None before it is confirmed."""
    request = intent.request
    intent_id = intents.intent_id(intent.key)
    status = "canceled" if is_burned else "requires_confirmation"
    if charge is not None and charge.status is not None:
        status = _STATUSES[charge.status]
    metadata = dict(intent.metadata)
    if (capture_key := intents.capture_key(intent.key)) is not None:
        metadata["tally_capture"] = capture_key
    return {
        "id": intent_id,
        "object": "payment_intent",
        "amount": request.amount,
        "amount_received": charge.captured if charge is not None else 0,
        "capture_method": "automatic" if request.capture else "manual",
        "created": intent.at_ms // 1_000,
        "currency": request.currency.lower(),
        "description": request.description or None,
        "last_payment_error": _last_error(charge),
        "latest_charge": charge_shape(intents, intent, charge),
        "livemode": False,
        "metadata": metadata,
        "next_action": _next_action(charge),
        "payment_method_types": ["card"],
        "status": status,
    }


def charge_shape(
    intents: StripeIntents, intent: IntentRecord, charge: AnswerBody | None
) -> dict[str, Any] | None:
    """Return the charge of a PaymentIntent; None where none was tried."""
    if charge is None or charge.status in _WITHOUT_CHARGE or charge.at is None:
        return None
    return {
        "id": intents.charge_id(intent.key),
        "object": "charge",
        "amount": intent.request.amount,
        "amount_captured": charge.captured,
        "amount_refunded": charge.refunded,
        "captured": charge.status is ChargeStatus.CAPTURED,
        "created": int(charge.at.timestamp()),
        "currency": intent.request.currency.lower(),
        "metadata": dict(intent.metadata),
        "payment_intent": intents.intent_id(intent.key),
        "status": "failed" if charge.status is ChargeStatus.DECLINED else "succeeded",
    }


def refund_shape(
    intents: StripeIntents, intent: IntentRecord, refund: ChangeRecord
) -> dict[str, Any]:
    """Return one refund of a PaymentIntent's charge."""
    key = refund.key or ""
    return {
        "id": intents.refund_id(key),
        "object": "refund",
        "amount": refund.amount,
        "balance_transaction": intents.refund_id(key).replace("re_", "txn_", 1),
        "charge": intents.charge_id(intent.key),
        "created": refund.at_ms // 1_000,
        "currency": intent.request.currency.lower(),
        "metadata": {"tally_key": key},
        "payment_intent": intents.intent_id(intent.key),
        "status": "succeeded",
    }


def dispute_shape(
    intents: StripeIntents, intent: IntentRecord, told: AnswerBody, status: str
) -> dict[str, Any]:
    """Return a dispute of a PaymentIntent's charge. It carries none of the metadata of either."""
    return {
        "id": told.dispute,
        "object": "dispute",
        "amount": told.disputed,
        "charge": intents.charge_id(intent.key),
        "created": int(told.at.timestamp()) if told.at is not None else 0,
        "currency": intent.request.currency.lower(),
        "metadata": {},
        "payment_intent": intents.intent_id(intent.key),
        "reason": "fraudulent",
        "status": status,
    }


def balance_shape(
    intents: StripeIntents, intent: IntentRecord, row: SettlementRow
) -> dict[str, Any]:
    """Return a charge that moved money, as a movement on the account's balance."""
    charge = AnswerBody(status=row.status, captured=row.captured, refunded=row.refunded, at=row.at)
    return {
        "id": row.reference.replace("ch_", "txn_", 1),
        "object": "balance_transaction",
        "amount": row.captured,
        "created": int(row.at.timestamp()),
        "currency": row.currency.lower(),
        "fee": row.fee,
        "net": row.captured - row.fee,
        "source": charge_shape(intents, intent, charge),
        "type": "charge",
    }


def error(
    status: int,
    kind: str,
    *,
    code: str | None = None,
    message: str = "",
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> StripeAnswer:
    """Return what Stripe says instead of an object."""
    told = {"type": kind, "code": code, "message": message, **more}
    present = {name: value for name, value in told.items() if value is not None}
    return StripeAnswer(status=status, body={"error": present}, headers=headers or {})


def missing(what: str, param: str = "intent") -> StripeAnswer:
    """Return Stripe's 404."""
    message = f"No such {what}"
    return error(
        404, "invalid_request_error", code="resource_missing", message=message, param=param
    )


def key_reused() -> StripeAnswer:
    message = "Keys for idempotent requests can only be used with the same parameters."
    return error(400, "idempotency_error", message=message)


def failed(*, is_replay: bool) -> StripeAnswer:
    """Return Stripe's own failure, which it keeps under the key."""
    headers = {"Idempotent-Replayed": "true"} if is_replay else {}
    return error(500, "api_error", message="Something went wrong.", headers=headers)


def of_problem(reply: Reply) -> StripeAnswer:
    """Return what a refusal of the sandbox is in Stripe's words."""
    if reply.status == FAILED.status:
        return failed(is_replay=False)
    if reply is IN_PROGRESS:
        return error(409, "invalid_request_error", code="idempotency_key_in_use")
    if reply is LOCKED:
        return error(429, "invalid_request_error", code="lock_timeout", headers=_wait(reply))
    if reply is DID_NOT_RUN or reply.status == 429:
        return error(429, "invalid_request_error", code="rate_limit", headers=_wait(reply))
    if reply.body.code == "idempotency_key_reused":
        return key_reused()
    return missing("payment_intent")


def _wait(reply: Reply) -> dict[str, str]:
    wait_s = reply.body.retry_after_s
    return {} if wait_s is None else {"Retry-After": str(max(1, round(wait_s)))}


def _last_error(charge: AnswerBody | None) -> dict[str, Any] | None:
    if charge is None or charge.status is not ChargeStatus.DECLINED:
        return None
    if charge.decline_code == "authentication_failed":
        return {"type": "invalid_request_error", "code": "payment_intent_authentication_failure"}
    return {
        "type": "card_error",
        "code": "card_declined",
        "decline_code": charge.decline_code,
        "message": "Your card was declined.",
    }


def _next_action(charge: AnswerBody | None) -> dict[str, Any] | None:
    if charge is None or charge.next_action_url is None:
        return None
    return {"type": "redirect_to_url", "redirect_to_url": {"url": charge.next_action_url}}
