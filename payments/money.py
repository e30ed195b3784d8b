"""Money is a count of minor units in one currency, never a float."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP

from payments.currencies import EXPONENTS
from payments.defects import InvariantViolation

# The largest integer that every JSON reader keeps exactly (RFC 8259, section 6): JavaScript and
# many others read numbers as IEEE 754 doubles, and 2**53 + 1 comes back as 2**53.
AMOUNT_MINOR_MAX = 2**53 - 1

BASIS_POINTS_PER_WHOLE = 10_000


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units (cents, yen, fils) of an ISO 4217 currency; may be negative.

    Raises InvariantViolation when the amount is no integer within ±AMOUNT_MINOR_MAX or the currency
    has no minor unit: what comes from outside is checked before it becomes Money.
    """

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount_minor) is not int:
            raise InvariantViolation(f"amount_minor must be an int, not {self.amount_minor!r}")
        if not -AMOUNT_MINOR_MAX <= self.amount_minor <= AMOUNT_MINOR_MAX:
            raise InvariantViolation(f"amount_minor={self.amount_minor} is beyond 2**53 - 1")
        if self.currency not in EXPONENTS:
            raise InvariantViolation(f"currency={self.currency!r} has no minor unit in ISO 4217")

    def __add__(self, other: Money) -> Money:
        """Return the sum. Raises InvariantViolation between two currencies."""
        self._check_same_currency(other)
        return Money(self.amount_minor + other.amount_minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        """Return the difference. Raises InvariantViolation between two currencies."""
        self._check_same_currency(other)
        return Money(self.amount_minor - other.amount_minor, self.currency)

    def fraction(self, basis_points: int, rounding: str = ROUND_HALF_EVEN) -> Money:
        """Return this many hundredths of a percent, exact in integers and rounded once.

        ``rounding`` is one of decimal's ROUND_HALF_EVEN, ROUND_HALF_UP (away from zero), ROUND_DOWN
        (towards zero).
        """
        if basis_points < 0:
            raise InvariantViolation(f"basis_points={basis_points} must not be negative")
        numerator = abs(self.amount_minor) * basis_points
        share_minor, remainder = divmod(numerator, BASIS_POINTS_PER_WHOLE)
        if _rounds_up(share_minor, 2 * remainder, rounding):
            share_minor += 1
        return Money(share_minor if self.amount_minor >= 0 else -share_minor, self.currency)

    def split(self, parts: int) -> tuple[Money, ...]:
        """Return parts that differ by at most one minor unit and sum to this; the larger first."""
        if parts < 1:
            raise InvariantViolation(f"parts={parts} must be at least 1")
        part_minor, larger_count = divmod(self.amount_minor, parts)
        return tuple(
            Money(part_minor + (1 if position < larger_count else 0), self.currency)
            for position in range(parts)
        )

    def to_decimal_text(self) -> str:
        """Return the amount for people, without currency: "19.99", "1999" (JPY), "1.999" (KWD)."""
        exponent = EXPONENTS[self.currency]
        if exponent == 0:
            return str(self.amount_minor)
        whole, minor = divmod(abs(self.amount_minor), 10**exponent)
        sign = "-" if self.amount_minor < 0 else ""
        return f"{sign}{whole}.{minor:0{exponent}d}"

    def _check_same_currency(self, other: Money) -> None:
        if self.currency != other.currency:
            raise InvariantViolation(f"{self.currency} and {other.currency} do not add up")


def share_half_even(amount_minor: int, basis_points: int) -> int:
    """Return this many hundredths of a percent of an amount >= 0, rounded half-even, in integers."""
    share_minor, remainder = divmod(amount_minor * basis_points, BASIS_POINTS_PER_WHOLE)
    return share_minor + _rounds_up(share_minor, 2 * remainder, ROUND_HALF_EVEN)


def _rounds_up(share_minor: int, remainder_doubled: int, rounding: str) -> bool:
    """Whether the cut-off part, doubled, lifts the magnitude ``share_minor`` by one."""
    if rounding == ROUND_HALF_EVEN:
        is_tie = remainder_doubled == BASIS_POINTS_PER_WHOLE
        return share_minor % 2 == 1 if is_tie else remainder_doubled > BASIS_POINTS_PER_WHOLE
    if rounding == ROUND_HALF_UP:
        return remainder_doubled >= BASIS_POINTS_PER_WHOLE
    if rounding == ROUND_DOWN:
        return False
    raise InvariantViolation(f"rounding={rounding!r} is not one we use for money")
