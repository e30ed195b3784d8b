"""What the simulator's webhooks say, in the terms of an answer about a key. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from payments.attempts import PspAnswer, ResultClass
from psp.classification import MESSAGE_CHARACTERS_MAX
from psp.simulator.wire import UNREADABLE, ChargeStatus, WebhookBody
from psp.webhooks import PspNotice, WebhookUnreadable

TYPE_PREFIX = "charge."

# An authorization, or one that was voided, ends no order yet; nor does what is still under way.
_RESULTS: Mapping[ChargeStatus | None, ResultClass] = {
    ChargeStatus.CAPTURED: ResultClass.APPROVED,
    ChargeStatus.DECLINED: ResultClass.DECLINED_FINAL,
    ChargeStatus.CANCELED: ResultClass.CANCELED,
    ChargeStatus.REQUIRES_ACTION: ResultClass.REQUIRES_ACTION,
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
    result = _RESULTS.get(charge.status, ResultClass.UNKNOWN)
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
    return PspNotice(event_id=told.id, psp_key=charge.key, answer=answer.storable())
