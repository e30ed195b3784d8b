"""What the sandbox PSP keeps of each capture, so that settlement reports have a fee to reconcile. Pure."""

from __future__ import annotations

from typing import NamedTuple


class SettlementFee(NamedTuple):
    """Hundredths of a percent and a fixed part, in minor units of whatever currency."""

    basis_points: int = 150
    fixed_minor: int = 0

    def of(self, amount_minor: int) -> int:
        """Return the fee of a capture, rounded half to even, and never above it."""
        whole, rest = divmod(amount_minor * self.basis_points, 10_000)
        share_minor = whole + (rest > 5_000 or (rest == 5_000 and whole % 2 == 1))
        return min(share_minor + self.fixed_minor, amount_minor)
