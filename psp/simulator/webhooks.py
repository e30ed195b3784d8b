"""What the simulator tells by webhook of each change of a charge, and how that goes wrong. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from psp.simulator.behaviour import digest_of_key, reference_of_digest
from psp.simulator.charges import Charge
from psp.simulator.records import BurnRecord, ChangeRecord, ChargeRecord, Record
from psp.simulator.state import SandboxState
from psp.simulator.wire import (
    AnswerBody,
    ChangeKind,
    ChargeStatus,
    WebhookBody,
    WebhookFaults,
    instant,
)

# A second copy comes after the first was taken; what came before it, after both.
DUPLICATE_MS = 250
REORDER_MS = 500
# Beyond every tolerance that can be configured.
REPLAY_AGE_S = 2 * 3_600

_TYPES: Mapping[ChargeStatus, str] = {
    ChargeStatus.CAPTURED: "charge.succeeded",
    ChargeStatus.AUTHORIZED: "charge.authorized",
    ChargeStatus.DECLINED: "charge.failed",
    ChargeStatus.VOIDED: "charge.voided",
    ChargeStatus.REQUIRES_ACTION: "charge.requires_action",
    ChargeStatus.CANCELED: "charge.canceled",
}
_PROCESSING = "charge.processing"

DISPUTE_TYPES: Mapping[ChangeKind, str] = {
    ChangeKind.DISPUTE: "charge.dispute.opened",
    ChangeKind.DISPUTE_WON: "charge.dispute.won",
    ChangeKind.DISPUTE_LOST: "charge.dispute.lost",
}

# What moves money under a key of its own is told by that key, done or refused.
TOLD_BY_KEY = frozenset({ChangeKind.CAPTURE, ChangeKind.REFUND})

# What ends or moves a charge.
_TOLD_CHANGES = frozenset(
    {ChangeKind.COMPLETE, ChangeKind.FAIL, ChangeKind.CANCEL, ChangeKind.VOID}
)


class Sending(NamedTuple):
    """One webhook to be sent."""

    kind: str
    """``true``, or what is wrong with it: ``duplicate``, ``reordered``, ``forged``, ``replayed``."""
    body: WebhookBody
    delay_ms: int = 0
    age_s: int = 0
    """How long before it is sent it says that it was signed."""
    is_forged: bool = False

    @property
    def is_wanted(self) -> bool:
        """Whether it is tried again until it is taken."""
        return self.age_s == 0 and not self.is_forged


def told_by(state: SandboxState, record: Record) -> WebhookBody | None:
    """Return what a durable record, which the state has taken in, makes the PSP tell; None for nothing."""
    match record:
        case ChargeRecord(key=key):
            charge = state.charge_of_key(key)
        case ChangeRecord(charge_key=key, kind=kind) if kind in DISPUTE_TYPES:
            return _dispute_body(state, state.charge_of_key(key), kind, instant(record.at_ms))
        case ChangeRecord(kind=kind, key=str()) if kind in TOLD_BY_KEY:
            return _change_body(state, record)
        case ChangeRecord(charge_key=key, kind=kind, refusal=None) if kind in _TOLD_CHANGES:
            charge = state.charge_of_key(key)
        case BurnRecord(key=key, at_ms=at_ms):
            told = AnswerBody(object="charge", key=key, status=ChargeStatus.CANCELED)
            return _body(state.seed, _TYPES[ChargeStatus.CANCELED], told, instant(at_ms))
        case _:
            return None
    if charge is None:
        return None
    told = _charge_body(state, charge)
    return _body(state.seed, _TYPES[charge.status], told, instant(record.at_ms))


def _change_body(state: SandboxState, record: ChangeRecord) -> WebhookBody | None:
    charge = state.charge_of_key(record.charge_key)
    if charge is None:
        return None
    told = msgspec.structs.replace(
        _charge_body(state, charge),
        object=record.kind.value,
        key=record.key,
        charge_key=charge.key,
        amount=record.amount,
        decline_code=record.refusal,
        at=instant(record.at_ms),
    )
    end = "succeeded" if record.refusal is None else "failed"
    return _body(state.seed, f"charge.{record.kind.value}.{end}", told, instant(record.at_ms))


def _dispute_body(
    state: SandboxState, charge: Charge | None, kind: ChangeKind, at: datetime
) -> WebhookBody | None:
    if charge is None:
        return None
    told = msgspec.structs.replace(
        _charge_body(state, charge),
        dispute=state.reference_of(charge).replace("ch_", "dp_", 1),
        disputed=charge.disputed_minor,
    )
    return _body(state.seed, DISPUTE_TYPES[kind], told, at)


def sendings_of(body: WebhookBody, faults: WebhookFaults, seed: int) -> list[Sending]:
    """Return what is sent of one event. Drawn from seed and event, whatever came before."""

    def happens(name: str, rate: float) -> bool:
        return _drawn(seed, body.id, name) < rate

    if happens("drop", faults.drop):
        return []
    delay_ms = int(faults.delay_ms * _drawn(seed, body.id, "delay"))
    sendings = [Sending("true", body, delay_ms)]
    if happens("forge", faults.forge):
        sendings.insert(0, Sending("forged", _opposite(body), is_forged=True))
    if happens("replay", faults.replay):
        sendings.insert(0, Sending("replayed", body, age_s=REPLAY_AGE_S))
    if happens("duplicate", faults.duplicate):
        sendings.append(Sending("duplicate", body, delay_ms + DUPLICATE_MS))
    if happens("reorder", faults.reorder):
        before = _body(
            seed,
            _PROCESSING,
            msgspec.structs.replace(body.data, status=None, captured=0),
            body.created_at,
        )
        sendings.append(Sending("reordered", before, delay_ms + REORDER_MS))
    return sendings


def _charge_body(state: SandboxState, charge: Charge) -> AnswerBody:
    return AnswerBody(
        object="charge",
        key=charge.key,
        reference=state.reference_of(charge),
        status=charge.status,
        amount=charge.amount_minor,
        currency=charge.currency,
        captured=charge.captured_minor,
        refunded=charge.refunded_minor,
        decline_code=charge.decline_code if charge.status is ChargeStatus.DECLINED else None,
        at=instant(charge.at_ms),
    )


def _body(seed: int, event_type: str, told: AnswerBody, at: datetime) -> WebhookBody:
    # Letters alone, as in references: no card number by chance.
    name = reference_of_digest(digest_of_key(seed, f"{told.key} {event_type} {at.isoformat()}"))
    event_id = name.replace("ch_", "evt_", 1)
    return WebhookBody(id=event_id, type=event_type, created_at=at, data=told)


def _opposite(body: WebhookBody) -> WebhookBody:
    """The same event with the other outcome: believed, it would take the true one's place."""
    told = body.data
    if told.charge_key is not None:
        is_done = told.decline_code is None
        other = msgspec.structs.replace(told, decline_code="do_not_honor" if is_done else None)
        kind, end = body.type.rsplit(".", 1)[0], "failed" if is_done else "succeeded"
        return msgspec.structs.replace(body, type=f"{kind}.{end}", data=other)
    if told.status is ChargeStatus.CAPTURED:
        other = msgspec.structs.replace(
            told, status=ChargeStatus.DECLINED, captured=0, decline_code="do_not_honor"
        )
        return msgspec.structs.replace(body, type=_TYPES[ChargeStatus.DECLINED], data=other)
    other = msgspec.structs.replace(
        told, status=ChargeStatus.CAPTURED, captured=told.amount or 1, decline_code=None
    )
    return msgspec.structs.replace(body, type=_TYPES[ChargeStatus.CAPTURED], data=other)


def _drawn(seed: int, event_id: str, name: str) -> float:
    drawn = blake2b(
        event_id.encode(),
        digest_size=8,
        key=seed.to_bytes(8, "big"),
        person=f"hook {name}".encode(),
    )
    return int.from_bytes(drawn.digest(), "big") / 2**64
