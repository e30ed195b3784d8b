"""How the sandbox PSP decides: pure rules from a request and the state to a record and a reply."""

from __future__ import annotations

import msgspec

from psp.simulator.behaviour import PAGE, FirstTry, Script, fingerprint_of_request, script_of
from psp.simulator.charges import Change, Charge
from psp.simulator.decided import Decision, Delivery
from psp.simulator.denials import denied_query, denied_send
from psp.simulator.page_terms import HostedTerms
from psp.simulator.records import BurnRecord, ChangeRecord, ChargeRecord
from psp.simulator.replies import (
    DID_NOT_RUN,
    FAILED,
    KEY_REUSED,
    NOT_DISPUTABLE,
    NOT_FOUND,
    RATE_LIMITED,
    Reply,
)
from psp.simulator.state import SandboxState
from psp.simulator.wire import (
    AnswerBody,
    ChangeKind,
    ChargeRequest,
    ChargeStatus,
    Denial,
    Scenario,
    instant,
)

FIRST_TRIES_MAX = 100_000
"""How many keys are remembered whose first try did not run. The oldest is forgotten first, and
fails once more.
"""

_ENCODER = msgspec.json.Encoder()


class SandboxRules:
    """The rules over one state. Deciding changes nothing but the memory of first tries."""

    def __init__(self, state: SandboxState, *, public_url: str) -> None:
        self._state = state
        self._public_url = public_url
        self._first_tries: dict[str, None] = {}

    def decide_charge(
        self, key: str, request: ChargeRequest, *, token: str, scenario: Scenario, now_ms: int
    ) -> Decision:
        """Decide a charge, or replay what its key already did, as it stands now.

        ``token`` is the request's, or another one that a fault has drawn in its place.
        """
        fingerprint = fingerprint_of_request(_ENCODER.encode(request))
        if (charge := self._state.charge_of_key(key)) is not None:
            if charge.fingerprint != fingerprint:
                return Decision(reply=KEY_REUSED)
            denied = denied_send(charge, now_ms)
            return Decision(reply=denied or self._charge_reply(charge))
        if self._state.change_of_key(key) is not None:
            return Decision(reply=KEY_REUSED)
        if self._state.is_burned(key):
            return Decision(reply=_key_canceled(key))
        script = PAGE if isinstance(request.hosted, HostedTerms) else script_of(token)
        if scenario.down and script.is_refused_while_down:
            return Decision(reply=DID_NOT_RUN)
        if (refused := self._decide_first_try(key, script)) is not None:
            return refused
        return Decision(
            record=_charge_record(key, request, script, fingerprint, now_ms),
            reply=FAILED if script.denial is Denial.FAILED else None,
            delivery=Delivery.DROP if script.drops_answer else Delivery.ANSWER,
            answer_delay_ms=script.answer_delay_ms,
        )

    def _decide_first_try(self, key: str, script: Script) -> Decision | None:
        if script.first_try is FirstTry.RUNS:
            return None
        if key in self._first_tries:
            del self._first_tries[key]
            return None
        if len(self._first_tries) >= FIRST_TRIES_MAX:
            del self._first_tries[next(iter(self._first_tries))]
        self._first_tries[key] = None
        if script.first_try is FirstTry.HANGS:
            return Decision(reply=FAILED, delivery=Delivery.HANG)
        return Decision(reply=FAILED if script.first_try is FirstTry.FAILS else RATE_LIMITED)

    def decide_change(
        self, key: str, charge: Charge, kind: ChangeKind, amount_minor: int, *, now_ms: int
    ) -> Decision:
        """Decide a capture, void or refund under its own key. A refusal is stored and replayed as
        well.
        """
        asked = f"{kind} {charge.key} {amount_minor}"
        fingerprint = fingerprint_of_request(asked.encode())
        if (seen := self._state.change_of_key(key)) is not None:
            same = seen.fingerprint == fingerprint
            return Decision(reply=self._change_reply(seen) if same else KEY_REUSED)
        if self._state.charge_of_key(key) is not None:
            return Decision(reply=KEY_REUSED)
        if self._state.is_burned(key):
            return Decision(reply=_key_canceled(key))
        record = ChangeRecord(
            charge_key=charge.key,
            kind=kind,
            key=key,
            amount=amount_minor,
            fingerprint=fingerprint,
            refusal=_refusal(charge, kind, amount_minor),
            at_ms=now_ms,
        )
        return Decision(record=record)

    def decide_action(
        self, charge: Charge, *, is_approved: bool, now_ms: int, decline_code: str | None = None
    ) -> Decision:
        """Decide what the buyer answered, or a card did; a second answer changes nothing."""
        if charge.status is not ChargeStatus.REQUIRES_ACTION:
            return Decision(reply=self._charge_reply(charge))
        kind = ChangeKind.COMPLETE if is_approved else ChangeKind.FAIL
        change = _own_change(charge, kind, now_ms)
        if decline_code is not None:
            change = msgspec.structs.replace(change, decline_code=decline_code)
        return Decision(record=change)

    def decide_dispute(
        self, charge: Charge, kind: ChangeKind, amount_minor: int | None, *, now_ms: int
    ) -> Decision:
        """Decide what a buyer's bank says: a charge has one dispute at most, and that has one end."""
        wanted_minor = charge.refundable_minor if amount_minor is None else amount_minor
        is_open = charge.dispute is ChangeKind.DISPUTE
        if kind is ChangeKind.DISPUTE:
            if charge.dispute is not None or not 0 < wanted_minor <= charge.refundable_minor:
                return Decision(reply=NOT_DISPUTABLE)
        elif charge.dispute is kind:
            return Decision(reply=self._charge_reply(charge))
        elif not is_open:
            return Decision(reply=NOT_DISPUTABLE)
        record = _own_change(charge, kind, now_ms)
        return Decision(record=msgspec.structs.replace(record, amount=wanted_minor))

    def decide_cancel(self, key: str, *, now_ms: int) -> Decision:
        """Decide whether a key can be kept from charging: unseen, waiting for its buyer, or only
        authorized.
        """
        charge = self._state.charge_of_key(key)
        if charge is None:
            is_known = self._state.is_burned(key) or self._state.change_of_key(key) is not None
            if is_known:
                return Decision()
            self._first_tries.pop(key, None)
            return Decision(record=BurnRecord(key=key, at_ms=now_ms))
        if (denied := denied_send(charge, now_ms)) is not None:
            return Decision(reply=denied)
        if charge.status is ChargeStatus.REQUIRES_ACTION:
            return Decision(record=_own_change(charge, ChangeKind.CANCEL, now_ms))
        if charge.status is ChargeStatus.AUTHORIZED:
            return Decision(record=_own_change(charge, ChangeKind.VOID, now_ms))
        return Decision()

    def answer_of_key(self, key: str, *, now_ms: int) -> Reply:
        """Return what a key did, as it stands now; 404 if it did nothing that is durable."""
        if (charge := self._state.charge_of_key(key)) is not None:
            return denied_query(charge, now_ms) or self._charge_reply(charge)
        if (change := self._state.change_of_key(key)) is not None:
            return self._change_reply(change)
        return _key_canceled(key) if self._state.is_burned(key) else NOT_FOUND

    def _charge_reply(self, charge: Charge) -> Reply:
        return Reply(status=_HTTP_STATUS[charge.status], body=self._body(charge))

    def _change_reply(self, change: Change) -> Reply:
        body = msgspec.structs.replace(
            self._body(change.charge),
            object=change.kind.value,
            key=change.key,
            amount=change.amount_minor,
            decline_code=change.refusal,
            next_action_url=None,
            at=instant(change.at_ms),
        )
        return Reply(status=200 if change.refusal is None else 402, body=body)

    def _body(self, charge: Charge) -> AnswerBody:
        reference = self._state.reference_of(charge)
        next_action_url = None
        if charge.status is ChargeStatus.REQUIRES_ACTION:
            page = "actions" if self._state.pages.of(charge.key) is None else "pay"
            next_action_url = f"{self._public_url}/{page}/{reference}"
        return AnswerBody(
            object="charge",
            key=charge.key,
            reference=reference,
            status=charge.status,
            amount=charge.amount_minor,
            currency=charge.currency,
            captured=charge.captured_minor,
            refunded=charge.refunded_minor,
            decline_code=charge.decline_code,
            next_action_url=next_action_url,
            at=instant(charge.at_ms),
        )


_HTTP_STATUS = {
    ChargeStatus.CAPTURED: 200,
    ChargeStatus.AUTHORIZED: 200,
    ChargeStatus.REQUIRES_ACTION: 202,
    ChargeStatus.DECLINED: 402,
    ChargeStatus.VOIDED: 410,
    ChargeStatus.CANCELED: 410,
}


def _key_canceled(key: str) -> Reply:
    body = AnswerBody(
        key=key, code="key_canceled", message="This key is canceled; it never charges."
    )
    return Reply(status=410, body=body)


def _charge_record(
    key: str, request: ChargeRequest, script: Script, fingerprint: int, now_ms: int
) -> ChargeRecord:
    decline_code = script.decline_of(request.amount)
    if decline_code is not None:
        status = ChargeStatus.DECLINED
    elif script.needs_action:
        status = ChargeStatus.REQUIRES_ACTION
    else:
        status = ChargeStatus.CAPTURED if request.capture else ChargeStatus.AUTHORIZED
    return ChargeRecord(
        key=key,
        merchant=request.metadata.merchant,
        order_key=request.metadata.order_key,
        amount=request.amount,
        currency=request.currency,
        capture=request.capture,
        status=status,
        decline_code=decline_code,
        fingerprint=fingerprint,
        refuses_until_ms=now_ms + script.denies_ms if script.denial is not None else 0,
        denial=script.denial or Denial.REFUSED,
        at_ms=now_ms,
        hosted=msgspec.structs.replace(request.hosted, description=request.description)
        if isinstance(request.hosted, HostedTerms)
        else msgspec.UNSET,
    )


def _own_change(charge: Charge, kind: ChangeKind, now_ms: int) -> ChangeRecord:
    """Return a change that needs no key of its own: to repeat it changes nothing."""
    return ChangeRecord(
        charge_key=charge.key,
        kind=kind,
        key=None,
        amount=charge.amount_minor,
        fingerprint=0,
        refusal=None,
        at_ms=now_ms,
    )


def _refusal(charge: Charge, kind: ChangeKind, amount_minor: int) -> str | None:
    """Return the first reason to refuse a change, or None."""
    if kind is ChangeKind.REFUND:
        if charge.status is not ChargeStatus.CAPTURED:
            return "charge_not_captured"
        if amount_minor > charge.refundable_minor:
            return "amount_above_captured"
        return None
    if charge.held_minor == 0:
        return "charge_not_authorized"
    if kind is ChangeKind.CAPTURE and amount_minor > charge.held_minor:
        return "amount_above_authorized"
    return None
