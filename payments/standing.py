"""How a payment stands once its answer froze: what was captured, refunded and disputed of it.

A payment that nothing is done to has no such row: its outcome says it all. Its owner holds one in memory
only while an operation on it is open.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from payments.disputes import Dispute
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.operation_rows import StandingRow
from payments.splits import SplitStanding, after_capture


class PaymentStanding(NamedTuple):
    """Replaced as a whole by each decision. Amounts are minor units of the payment's currency."""

    order_no: int
    order_uuid: UUID
    idempotency_key: UUID
    merchant_no: int
    mode: Mode
    seller_no: int
    amount_minor: int
    currency: str
    fee_minor: int
    """The whole fee, as accepted; see ``fee_taken_minor``."""
    captures_manually: bool
    psp: str | None
    """Where it was charged or authorized; operations go there, to the same account. None: nowhere."""
    psp_account: str
    psp_reference: str | None
    status: PaymentState
    captured_minor: int
    refunded_minor: int
    fee_taken_minor: int
    disputed_minor: int
    event_sequence: int
    operation_count: int
    """All that were ever taken in, also those that the books refused."""
    parked_refund_minor: int = 0
    """Refunds that nobody works on, because they end their host's process: they may have run."""
    parked_capture_minor: int = 0
    """The same of captures."""
    is_turn_parked: bool = False
    """Whether such a capture or void stands before all that come later."""
    disputes: tuple[Dispute, ...] = ()
    splits: tuple[SplitStanding, ...] = ()
    """How each seller's part stands; their sums are the payment's own amounts. Empty: all is ``seller_no``'s."""

    @property
    def sellers(self) -> tuple[int, ...]:
        """Whose wallets its money moves on, in the order of its parts."""
        return tuple(each.split.seller_no for each in self.splits) or (self.seller_no,)

    @property
    def held_minor(self) -> int:
        """What is authorized and neither captured nor given back."""
        is_held = self.status in (PaymentState.REQUIRES_CAPTURE, PaymentState.PARTIALLY_CAPTURED)
        return self.amount_minor - self.captured_minor if is_held else 0

    @property
    def refundable_minor(self) -> int:
        """What was captured and is still the seller's, whatever is on its way back."""
        taken_minor = self.refunded_minor + self.disputed_minor + self.parked_refund_minor
        return self.captured_minor - taken_minor

    def fee_due_minor(self, capture_minor: int) -> int:
        """The part of the fee that a further capture brings.

        In proportion to all that is captured then, rounded down; so the whole fee once all is captured, and
        never more than the capture itself. With splits, each part's fee is so, and this is their sum.
        """
        if self.splits:
            after = after_capture(self.splits, capture_minor)
            return sum(each.fee_taken_minor for each in after) - self.fee_taken_minor
        captured_minor = self.captured_minor + capture_minor
        return self.fee_minor * captured_minor // self.amount_minor - self.fee_taken_minor

    def row(self, partition_index: int, expires_in_ms: int | None) -> StandingRow:
        """Return it as a flush writes it."""
        return StandingRow(
            partition_index=partition_index,
            order_no=self.order_no,
            status=self.status,
            captured_minor=self.captured_minor,
            refunded_minor=self.refunded_minor,
            fee_taken_minor=self.fee_taken_minor,
            disputed_minor=self.disputed_minor,
            event_sequence=self.event_sequence,
            operation_count=self.operation_count,
            is_held=self.held_minor > 0,
            expires_in_ms=expires_in_ms,
        )
