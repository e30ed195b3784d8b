"""A PSP of a few lines that captures, voids and refunds, and operations to ask it for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from payments.attempts import PspAnswer, ResultClass
from payments.commands import OperationCommand, PaymentCommand
from payments.disputes import DisputeState
from payments.identity import operation_uuid, parse_psp_key
from payments.open_order import PspCall
from payments.operation_fingerprint import operation_fingerprint
from payments.operation_kinds import OperationKind
from payments.operations import Operation
from payments.psp_events import PspEvent, event_uuid
from payments.rows import TimerKind
from psp.simulator.wire import OracleRow
from tests.scenario import HOLD, Deed, ScriptedPsp


def an_operation(
    kind: OperationKind, payment: PaymentCommand, number: int, amount_minor: int | None = None
) -> OperationCommand:
    """The number-th operation of its kind on a payment; another amount is another body under the same key."""
    key = UUID(int=1_000 + number)
    return OperationCommand(
        operation_uuid=operation_uuid(payment.order_uuid, kind.wire, key),
        kind=kind,
        idempotency_key=key,
        payment_uuid=payment.order_uuid,
        payment_key=payment.idempotency_key,
        merchant_no=payment.merchant_no,
        merchant_id=payment.merchant_id,
        mode=payment.mode,
        amount_minor=amount_minor,
        reason=None,
        fingerprint=operation_fingerprint(amount_minor, None, bytes(32)),
        accepted_at=payment.accepted_at,
        api_version=payment.api_version,
        reply_to=payment.reply_to,
    )


def a_dispute_event(row: OracleRow, state: DisputeState, *, disputed_minor: int) -> PspEvent:
    """What the simulator tells of a dispute of this charge."""
    named = parse_psp_key(row.key)
    assert named is not None
    event_id = f"evt_{row.reference}_{state.name}"
    return PspEvent(
        event_uuid=event_uuid("simulator", event_id),
        psp="simulator",
        event_id=event_id,
        order_uuid=named.order_uuid,
        attempt_no=named.attempt_no,
        result=ResultClass.UNKNOWN,
        reference=row.reference,
        captured_minor=row.captured,
        currency=row.currency,
        failure_code=None,
        decline_code=None,
        message="",
        effective_at=None,
        accepted_at=row.at,
        dispute_id=f"dp_{row.reference}",
        dispute_state=state,
        disputed_minor=disputed_minor,
    )


@dataclass(slots=True)
class Charge:
    """What the PSP holds, took and gave back of one charge."""

    amount_minor: int
    captured_minor: int = 0
    refunded_minor: int = 0
    is_released: bool = False
    disputed_minor: int = 0
    dispute: DisputeState | None = None

    @property
    def taken_minor(self) -> int:
        """What its dispute holds, or took."""
        return 0 if self.dispute in (None, DisputeState.WON) else self.disputed_minor


@dataclass(slots=True)
class OperatedPsp(ScriptedPsp):
    """Knows what it may do; ``refused`` counts what it was asked for and had to refuse by its own rules."""

    held: dict[UUID, Charge] = field(default_factory=dict)
    """By order_uuid: the truth."""
    done: dict[str, tuple[PspAnswer, Operation]] = field(default_factory=dict)
    """By key: what each operation came to."""
    refused: int = 0

    def carry_out(self, call: PspCall, deed: Deed, now: datetime) -> PspAnswer:
        """Run one call, of a charge or of an operation."""
        if call.operation is None:
            answer = ScriptedPsp.carry_out(self, call, deed, now)
            self._note_charge(call)
            return answer
        key = call.attempt.psp_key
        if call.send_before is not None and now >= call.send_before:
            return PspAnswer(result=ResultClass.NOT_SENT)
        is_run = deed in (Deed.CHARGE, Deed.CHARGE_SILENTLY)
        if call.step is TimerKind.SEND and key not in self.done:
            if is_run:
                self.done[key] = (self._run(call.operation, now), call.operation)
            elif deed in (Deed.DECLINE, Deed.DECLINE_SOFTLY):
                declined = PspAnswer(result=ResultClass.DECLINED_FINAL, decline_code="no")
                self.done[key] = (declined, call.operation)
            elif deed is Deed.REFUSE:
                return PspAnswer(result=ResultClass.NOT_SENT)
        if deed in (Deed.CHARGE_SILENTLY, Deed.VANISH, Deed.REFUSE) or key not in self.done:
            return PspAnswer(result=ResultClass.UNKNOWN)
        answer, operation = self.done[key]
        same = operation._replace(reply_to="") == call.operation._replace(reply_to="")
        assert same, "a key names one operation"
        return answer

    def dispute(
        self, payment: PaymentCommand, state: DisputeState, now: datetime
    ) -> PspEvent | None:
        """Let the buyer's bank say so, if it can; returns what the PSP tells of it."""
        charge = self.held.get(payment.order_uuid)
        if charge is None:
            return None
        left_minor = charge.captured_minor - charge.refunded_minor
        if state is DisputeState.OPENED:
            if charge.dispute is not None or left_minor == 0:
                return None
            charge.disputed_minor = left_minor
        elif charge.dispute is not DisputeState.OPENED:
            return None
        charge.dispute = state
        event_id = f"evt_{payment.order_uuid}_{state.name}"
        return PspEvent(
            event_uuid=event_uuid("psp", event_id),
            psp="psp",
            event_id=event_id,
            order_uuid=payment.order_uuid,
            attempt_no=1,
            result=ResultClass.UNKNOWN,
            reference=None,
            captured_minor=charge.captured_minor,
            currency="USD",
            failure_code=None,
            decline_code=None,
            message="",
            effective_at=None,
            accepted_at=now,
            dispute_id="dp_one",
            dispute_state=state,
            disputed_minor=charge.disputed_minor,
        )

    def _note_charge(self, call: PspCall) -> None:
        key, request = call.attempt.psp_key, call.attempt.request
        named = parse_psp_key(key)
        assert named is not None
        if self.charges[named.order_uuid] == 0 or named.order_uuid in self.held:
            return
        amount_minor = int.from_bytes(request[:8], "big")
        is_hold = request.endswith(HOLD)
        captured_minor = 0 if is_hold else amount_minor
        self.held[named.order_uuid] = Charge(amount_minor, captured_minor)

    def _run(self, operation: Operation, now: datetime) -> PspAnswer:
        named = parse_psp_key(operation.charge_reference.removeprefix("ch_"))
        assert named is not None
        charge, amount_minor = self.held[named.order_uuid], operation.amount_minor
        is_fine = False
        held_minor = 0 if charge.is_released else charge.amount_minor - charge.captured_minor
        match operation.kind:
            case OperationKind.REFUND:
                left_minor = charge.captured_minor - charge.refunded_minor
                is_fine = amount_minor <= left_minor - charge.taken_minor
                # Only of a dispute the books may not know yet.
                self.refused -= not is_fine and amount_minor <= left_minor
                charge.refunded_minor += amount_minor * is_fine
            case OperationKind.CAPTURE:
                is_fine = amount_minor <= held_minor
                charge.captured_minor += amount_minor * is_fine
            case OperationKind.VOID | OperationKind.EXPIRY:
                is_fine = held_minor > 0
                charge.is_released |= is_fine
        if not is_fine:
            self.refused += 1
            return PspAnswer(result=ResultClass.DECLINED_FINAL, decline_code="above")
        return PspAnswer(
            result=ResultClass.APPROVED,
            reference=operation.charge_reference,
            captured_minor=amount_minor,
            currency="USD",
            effective_at=now,
        )
