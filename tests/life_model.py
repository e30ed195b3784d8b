"""What docs/API.md says of a payment's life, as a model of a few lines: no code of the product is in it.

It is told what storefronts ask for, and what came of what a provider was asked, and says how everything has to
stand then: states, amounts, refusals, balances and events. Amounts are minor units.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

OPERATIONS_MAX = 200
ENDS = ("succeeded", "failed")


@dataclass
class ModelOperation:
    """A capture, void or refund, or an expiry of ours."""

    kind: str
    amount_minor: int
    status: str = "pending"
    code: str | None = None
    events: list[str] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.status not in ENDS

    @property
    def takes_turns(self) -> bool:
        """Captures and voids of one payment run one after the other; refunds may run at the same time."""
        return self.kind != "refund"

    def end(self, status: str, code: str | None = None) -> None:
        self.status, self.code = status, code
        self.events.append(f"{self.kind}.{status}")


@dataclass
class ModelDispute:
    """A buyer's bank takes an amount back until it is decided whose it is."""

    amount_minor: int
    state: str
    events: list[str] = field(default_factory=list)


@dataclass
class ModelPayment:
    """One payment and everything that is done to it."""

    amount_minor: int
    fee_minor: int
    captures_manually: bool
    status: str = "processing"
    failure_code: str | None = None
    captured_minor: int = 0
    refunded_minor: int = 0
    fee_taken_minor: int = 0
    operations: dict[object, ModelOperation] = field(default_factory=dict)
    """By key, in the order of intake."""
    disputes: dict[str, ModelDispute] = field(default_factory=dict)
    events: list[str] = field(default_factory=lambda: ["payment_order.created"])

    # --- what is left -------------------------------------------------------------------------------

    @property
    def held_minor(self) -> int:
        is_held = self.status in ("requires_capture", "partially_captured")
        return self.amount_minor - self.captured_minor if is_held else 0

    @property
    def disputed_minor(self) -> int:
        return self._disputed("opened", "lost")

    @property
    def refundable_minor(self) -> int:
        return self.captured_minor - self.refunded_minor - self.disputed_minor

    def in_flight(self, kind: str) -> int:
        return sum(
            each.amount_minor
            for each in self.operations.values()
            if each.kind == kind and each.is_open
        )

    def balances(self) -> Counter[str]:
        """What the ledger has of it, by kind of account: debits less credits, posted and pending."""
        lost_minor, open_minor = self._disputed("lost"), self._disputed("opened")
        owed_minor = self.captured_minor - self.refunded_minor - lost_minor
        sellers_minor = self.captured_minor - self.refunded_minor - self.fee_taken_minor
        return Counter(
            {
                "psp_receivable": owed_minor,
                "wallet": -(sellers_minor - lost_minor - open_minor),
                "fee_income": -self.fee_taken_minor,
                "dispute_hold": -open_minor,
                "psp_receivable pending": self.held_minor,
                "wallet pending": -self.held_minor,
            }
        )

    def _disputed(self, *states: str) -> int:
        found = (each for each in self.disputes.values() if each.state in states)
        return sum(each.amount_minor for each in found)

    # --- what happens -------------------------------------------------------------------------------

    def charge_ended(self, status: str, code: str | None = None) -> None:
        """Its charge, or authorization, ended so."""
        if status == "succeeded":
            self.captured_minor, self.fee_taken_minor = self.amount_minor, self.fee_minor
        self._become(status)
        self.failure_code = code

    def take_in(self, key: object, kind: str, asked_minor: int | None) -> None:
        """An operation was asked for, and its message taken in. A key names one, and does nothing twice."""
        if key in self.operations:
            return
        is_exhausted = kind != "expiry" and len(self.operations) >= OPERATIONS_MAX
        operation = ModelOperation(kind, self._amount_of(kind, asked_minor))
        operation.events.append(f"{kind}.created")
        waits = operation.takes_turns and any(
            each.is_open and each.takes_turns for each in self.operations.values()
        )
        if is_exhausted:
            operation.end("failed", "operations_exhausted")
        elif not waits:
            self._begin(operation)
        self.operations[key] = operation

    def operation_ended(self, key: object, *, is_done: bool, code: str = "declined") -> None:
        """What the provider was asked for ended."""
        operation = self.operations[key]
        if not is_done:
            operation.end("failed", code)
        else:
            self._do(operation)
        self._next_turn()

    def told_of_dispute(
        self, reference: str, state: str, amount_minor: int, *, is_overdue: bool
    ) -> str:
        """What a provider told, in whatever order. Returns whether it was news, known, or is contradicted.

        One of more than was captured waits, until it is overdue: a capture may have run, and we have not
        heard of it.
        """
        dispute = self.disputes.get(reference)
        if dispute is None:
            if not 0 < amount_minor <= self.captured_minor:
                return "contradicts" if is_overdue else "waits"
            dispute = self.disputes[reference] = ModelDispute(amount_minor, "opened")
            dispute.events.append("dispute.opened")
            if state == "opened":
                return "applied"
        if state in ("opened", dispute.state):
            return "agrees"
        if dispute.state != "opened":
            return "contradicts"
        dispute.state = state
        dispute.events.append(f"dispute.{state}")
        return "applied"

    # --- parts --------------------------------------------------------------------------------------

    def _become(self, status: str) -> None:
        self.status = status
        self.events.append(f"payment_order.{status}")

    def _amount_of(self, kind: str, asked_minor: int | None) -> int:
        if asked_minor is not None and kind in ("capture", "refund"):
            return asked_minor
        if kind == "expiry":
            return self.held_minor
        if kind == "refund":
            return max(0, self.refundable_minor - self.in_flight("refund"))
        return max(0, self.held_minor - self.in_flight("capture"))

    def _refusal(self, operation: ModelOperation) -> str | None:
        if operation.kind == "refund":
            if self.captured_minor == 0:
                return "payment_not_captured"
            left_minor = self.refundable_minor - self.in_flight("refund")
            is_within = 0 < operation.amount_minor <= left_minor
            return None if is_within else "refund_exceeds_captured"
        if self.held_minor == 0:
            return "payment_not_authorized"
        if operation.kind == "void" and self.captured_minor > 0:
            return "payment_not_authorized"
        if operation.kind == "capture" and not 0 < operation.amount_minor <= self.held_minor:
            return "capture_exceeds_authorized"
        return None

    def _begin(self, operation: ModelOperation) -> None:
        refusal = self._refusal(operation)
        if refusal is None:
            operation.status = "processing"
        else:
            operation.end("failed", refusal)

    def _next_turn(self) -> None:
        for operation in self.operations.values():
            if not operation.is_open or not operation.takes_turns:
                continue
            if operation.status == "processing":
                return
            self._begin(operation)
            if operation.is_open:
                return

    def _do(self, operation: ModelOperation) -> None:
        if operation.kind == "refund":
            self.refunded_minor += operation.amount_minor
        elif operation.kind == "capture":
            self.captured_minor += operation.amount_minor
            self.fee_taken_minor = self.fee_minor * self.captured_minor // self.amount_minor
            is_all = self.captured_minor == self.amount_minor
            self._become("succeeded" if is_all else "partially_captured")
        elif operation.kind == "void":
            self._become("canceled")
        else:
            self._become("expired" if self.captured_minor == 0 else "succeeded")
        operation.end("succeeded")
