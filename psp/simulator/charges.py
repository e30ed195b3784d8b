"""One charge of the sandbox PSP as it stands, and one change of it. Without references to containers."""

from __future__ import annotations

import msgspec

from psp.simulator.wire import ChangeKind, ChargeStatus, Denial


class Charge(msgspec.Struct, gc=False):
    """One charge as it stands. Holds no references to containers, so the collector may skip it."""

    key: str
    merchant: str
    order_key: bytes | None
    amount_minor: int
    currency: str
    status: ChargeStatus
    decline_code: str | None
    captures_at_once: bool
    fingerprint: int
    refuses_until_ms: int
    at_ms: int
    denial: Denial = Denial.REFUSED
    captured_minor: int = 0
    refunded_minor: int = 0
    is_released: bool = False
    """What was left of its authorization after a capture was given back."""
    disputed_minor: int = 0
    """Of its one dispute; stays after its end."""
    dispute: ChangeKind | None = None
    """How that stands: the last thing that happened to it."""

    @property
    def charged_back_minor(self) -> int:
        """What a lost dispute took."""
        return self.disputed_minor if self.dispute is ChangeKind.DISPUTE_LOST else 0

    @property
    def refundable_minor(self) -> int:
        """What was captured, and is not back with the buyer, or disputed."""
        is_theirs = self.dispute in (ChangeKind.DISPUTE, ChangeKind.DISPUTE_LOST)
        disputed_minor = self.disputed_minor if is_theirs else 0
        return self.captured_minor - self.refunded_minor - disputed_minor

    @property
    def held_minor(self) -> int:
        """What is authorized, and neither captured nor given back."""
        is_held = self.status is ChargeStatus.AUTHORIZED or (
            self.status is ChargeStatus.CAPTURED and not self.captures_at_once
        )
        return self.amount_minor - self.captured_minor if is_held and not self.is_released else 0


class Change(msgspec.Struct, gc=False):
    """One capture, void or refund under its own key, done or refused for good."""

    charge: Charge
    key: str
    kind: ChangeKind
    amount_minor: int
    fingerprint: int
    refusal: str | None
    at_ms: int
