"""The sandbox's own rules behind ``BookWorld``: what it does is kept, and told by webhooks that are signed.

Everything on the way is the product's: requests, classes of answers, verifying and reading of webhooks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from actors.planning import OrderedPlanner
from gateway.psp_webhooks import event_of
from payments.attempts import PspAnswer, ResultClass
from payments.commands import PaymentCommand
from payments.decided import AttemptPlan
from payments.evidence import Evidence, EvidenceSource
from payments.open_order import OpenOrder, PspCall
from payments.operation_kinds import OperationKind
from payments.psp_events import PspEvent
from payments.rows import TimerKind
from psp.classification import classify_query, classify_send, of_another_request, unknown
from psp.in_process import InProcessPsp
from psp.sandbox_webhooks import read_sandbox_webhook
from psp.simulator.charges import Change, Charge
from psp.simulator.decided import Decision
from psp.simulator.decisions import SandboxRules
from psp.simulator.records import ChangeRecord, Record
from psp.simulator.state import SandboxState
from psp.simulator.webhook_sending import standard_shape
from psp.simulator.webhooks import told_by
from psp.simulator.wire import ChangeKind, ChargeRequest, ChargeStatus, Scenario, WebhookBody
from psp.webhooks import Refusal, WebhookVerifier
from runtime.clock import SystemClock
from tests.scenario import Deed, Psps, ScriptedPsp

NAME = "psp"
SECRET = b"known to the provider and to us"
FORGERS_SECRET = b"somebody else's, never told us."
SEED = 7
REFUSED_FOR_NO_RULE = "issuer_said_no"

_CHANGES = {
    OperationKind.CAPTURE: ChangeKind.CAPTURE,
    OperationKind.VOID: ChangeKind.VOID,
    OperationKind.EXPIRY: ChangeKind.VOID,
    OperationKind.REFUND: ChangeKind.REFUND,
}
_REQUEST = msgspec.json.Decoder(ChargeRequest)


class SandboxPsps(Psps):
    """Plans what the sandbox is sent."""

    def __init__(self) -> None:
        super().__init__(NAME)
        connector = InProcessPsp(name=NAME, account="main", seed=SEED, clock=SystemClock())
        self._planner = OrderedPlanner({NAME: connector})

    def plan(self, command: PaymentCommand, attempt_no: int, psp: str) -> AttemptPlan:
        """See ``payments.decided.Planner``."""
        return self._planner.plan(command, attempt_no, psp)


@dataclass(slots=True)
class SandboxDeeds(ScriptedPsp):
    """Does what the sandbox does; what its caller hears of it is another matter."""

    state: SandboxState = field(default_factory=lambda: SandboxState(seed=SEED))
    told: list[WebhookBody] = field(default_factory=list)
    """Every webhook that it ever had to send, in order."""

    def carry_out(self, call: PspCall, deed: Deed, now: datetime) -> PspAnswer:
        """Run one call and return how its caller sees it; one that came too late never leaves."""
        is_send = call.step is TimerKind.SEND
        if call.send_before is not None and now >= call.send_before:
            return PspAnswer(result=ResultClass.NOT_SENT)
        if deed is Deed.REFUSE:
            refused = PspAnswer(result=ResultClass.NOT_SENT)
            return refused if is_send else of_another_request(refused)
        if deed is Deed.VANISH:
            return unknown("nothing came", is_silent=True)
        key, now_ms = call.attempt.psp_key, int(now.timestamp() * 1_000)
        rules = SandboxRules(self.state, public_url="https://sandbox.invalid")
        if is_send:
            decision = self._sent(rules, call, now_ms, is_refused=deed is Deed.DECLINE)
            if decision.record is not None:
                self.apply(decision.record)
        elif call.step is TimerKind.CANCEL:
            record = rules.decide_cancel(key, now_ms=now_ms).record
            if record is not None:
                self.apply(record)
        if deed is Deed.CHARGE_SILENTLY:
            return unknown("the answer was lost", is_silent=True)
        reply = rules.answer_of_key(key, now_ms=now_ms)
        classify = classify_send if is_send else classify_query
        return classify(key, reply.status, msgspec.json.encode(reply.body))

    def apply(self, record: Record) -> None:
        """Make it durable, and tell of it."""
        self.state.apply(record)
        body = told_by(self.state, record)
        if body is not None:
            self.told.append(body)

    def dispute(self, charge: Charge, kind: ChangeKind, amount_minor: int, now: datetime) -> None:
        """Let the buyer's bank say so, if it can."""
        rules = SandboxRules(self.state, public_url="")
        now_ms = int(now.timestamp() * 1_000)
        record = rules.decide_dispute(charge, kind, amount_minor, now_ms=now_ms).record
        if record is not None:
            self.apply(record)

    def looked_up(self, order: OpenOrder, now: datetime) -> Evidence:
        """Let a person look at the provider's side: what never ran is kept from running, and said so."""
        key = order.attempt.psp_key
        rules = SandboxRules(self.state, public_url="")
        record = rules.decide_cancel(key, now_ms=int(now.timestamp() * 1_000)).record
        charge, change = self.charge_of(key), self.change_of(key)
        if charge is None and change is None and record is not None:
            self.apply(record)
        is_done = change is not None and change.refusal is None
        if charge is not None:
            is_done = charge.status is not ChargeStatus.DECLINED
        of = charge if change is None else change.charge
        return Evidence(
            evidence_no=1,
            partition_index=0,
            order_no=order.order_no,
            attempt_no=order.attempt.attempt_no,
            source=EvidenceSource.OPERATOR,
            result=ResultClass.APPROVED if is_done else ResultClass.DECLINED_FINAL,
            reference=self.state.reference_of(of) if is_done and of is not None else None,
            captured_minor=order.command.amount_minor if is_done else 0,
            currency="USD" if is_done else None,
            effective_at=None,
        )

    def charge_of(self, psp_key: str) -> Charge | None:
        """The charge that a key made, as it stands."""
        return self.state.charge_of_key(psp_key)

    def change_of(self, psp_key: str) -> Change | None:
        """What a key asked for that it was asked to do to a charge."""
        return self.state.change_of_key(psp_key)

    def _sent(
        self, rules: SandboxRules, call: PspCall, now_ms: int, *, is_refused: bool
    ) -> Decision:
        key, operation = call.attempt.psp_key, call.operation
        if operation is None:
            request = _REQUEST.decode(call.attempt.request)
            token = "tok_decline_do_not_honor" if is_refused else request.token
            return rules.decide_charge(
                key, request, token=token, scenario=Scenario(), now_ms=now_ms
            )
        charge = self.state.charge_of_reference(operation.charge_reference)
        assert charge is not None, "it was asked to change a charge that it never made"
        kind = _CHANGES[operation.kind]
        is_void = kind is ChangeKind.VOID
        amount_minor = charge.amount_minor if is_void else operation.amount_minor
        decision = rules.decide_change(key, charge, kind, amount_minor, now_ms=now_ms)
        assert decision.reply is None or decision.reply.status != 409, "a key names one operation"
        if is_refused and isinstance(decision.record, ChangeRecord):
            refused = msgspec.structs.replace(decision.record, refusal=REFUSED_FOR_NO_RULE)
            return Decision(record=refused)
        return decision


def heard(body: WebhookBody, now: datetime, *, is_forged: bool) -> PspEvent | None:
    """Take a webhook in as a gateway does; None: it is not believed, or concerns nobody."""
    secret = FORGERS_SECRET if is_forged else SECRET
    now_s = now.timestamp()
    sent, headers = standard_shape(body, secret, int(now_s))
    verifier = WebhookVerifier([SECRET], tolerance_s=300)
    refusal = verifier.refusal_of(lambda name: headers.get(name, ""), sent, now_s=now_s)
    if refusal is not None:
        assert is_forged, "a true webhook was refused"
        assert refusal is Refusal.SIGNATURE
        return None
    assert not is_forged, "a forged webhook was believed"
    notice = read_sandbox_webhook(sent)
    return None if notice is None else event_of(NAME, notice, now=now, reply_to="")
