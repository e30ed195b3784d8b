"""What the simulator's webhooks say, in the terms of an answer about a key. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from payments.attempts import PspAnswer, ResultClass
from payments.disputes import DisputeState
from psp.classification import MESSAGE_CHARACTERS_MAX
from psp.simulator.wire import UNREADABLE, ChargeStatus, WebhookBody
from psp.webhooks import DisputeNotice, PspNotice, WebhookUnreadable

TYPE_PREFIX = "charge."

# An authorization, or one that was voided, ends no order yet; nor does what is still under way.
_RESULTS: Mapping[ChargeStatus | None, ResultClass] = {
    ChargeStatus.CAPTURED: ResultClass.APPROVED,
    ChargeStatus.DECLINED: ResultClass.DECLINED_FINAL,
    ChargeStatus.CANCELED: ResultClass.CANCELED,
    ChargeStatus.REQUIRES_ACTION: ResultClass.REQUIRES_ACTION,
}

_DISPUTE_STATES: Mapping[str, DisputeState] = {
    "charge.dispute.opened": DisputeState.OPENED,
    "charge.dispute.won": DisputeState.WON,
    "charge.dispute.lost": DisputeState.LOST,
}

# The library names types and places, and the value where it is none of an enum's: what a body holds.
_QUOTED = re.compile(r" '.*'", re.DOTALL)

_BODY = msgspec.json.Decoder(WebhookBody)


def read_sandbox_webhook(body: bytes) -> PspNotice | None:
    """Return what a body says, or None when it is about no charge. Raises WebhookUnreadable."""
    try:
        told = _BODY.decode(body)
    except msgspec.ValidationError as invalid:
        raise WebhookUnreadable(_QUOTED.sub("", str(invalid))) from None
    except UNREADABLE:
        raise WebhookUnreadable("it is no JSON") from None
    if not told.type.startswith(TYPE_PREFIX):
        return None
    charge = told.data
    if charge.key is None:
        raise WebhookUnreadable("data.key is missing")
    if charge.charge_key is not None:
        return _change(told, charge.key, charge.charge_key)
    dispute = _dispute(told)
    result = _RESULTS.get(charge.status, ResultClass.UNKNOWN)
    if dispute is not None:
        result = ResultClass.UNKNOWN
    if result is ResultClass.DECLINED_FINAL and charge.decline_code is None:
        raise WebhookUnreadable("data.decline_code is missing")
    if charge.captured < 0:
        raise WebhookUnreadable("data.captured is below zero")
    answer = PspAnswer(
        result=result,
        reference=charge.reference,
        decline_code=charge.decline_code,
        message=charge.message[:MESSAGE_CHARACTERS_MAX],
        captured_minor=charge.captured,
        currency=charge.currency,
        effective_at=charge.at,
    )
    return PspNotice(
        event_id=told.id, psp_key=charge.key, answer=answer.storable(), dispute=dispute
    )


def _change(told: WebhookBody, key: str, charge_key: str) -> PspNotice:
    """Return what it says of a capture or refund under a key of its own."""
    change = told.data
    is_done = change.decline_code is None
    answer = PspAnswer(
        result=ResultClass.APPROVED if is_done else ResultClass.DECLINED_FINAL,
        reference=change.reference,
        decline_code=change.decline_code,
        message=change.message[:MESSAGE_CHARACTERS_MAX],
        captured_minor=max(0, change.amount or 0) if is_done else 0,
        currency=change.currency,
        effective_at=change.at,
    )
    return PspNotice(event_id=told.id, psp_key=key, answer=answer.storable(), charge_key=charge_key)


def _dispute(told: WebhookBody) -> DisputeNotice | None:
    """Return what it says of a dispute, or None when it is about none. Raises WebhookUnreadable."""
    state = _DISPUTE_STATES.get(told.type)
    if state is None:
        return None
    if not told.data.dispute or told.data.disputed < 1:
        raise WebhookUnreadable("data.dispute or data.disputed is missing")
    return DisputeNotice(told.data.dispute, state, told.data.disputed)
