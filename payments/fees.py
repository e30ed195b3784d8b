"""What we keep of a payment: basis points plus a fixed amount a currency, never above the gross."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from payments.currencies import EXPONENTS
from payments.defects import InvariantViolation
from payments.money import BASIS_POINTS_PER_WHOLE, Money, share_half_even

# A fixed fee beyond this is a slip of the keyboard: 10 million dollars, or 65 thousand in rupiah.
FIXED_MINOR_MAX = 10**9

_MEMBERS = frozenset({"basis_points", "fixed", "fixed_default"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeSchedule:
    """A seller's fee. ``fixed_minor`` holds (currency, minor units), sorted by currency.

    Raises InvariantViolation for values that ``fee_schedule_refusal`` refuses: ask that first about
    what comes from outside.
    """

    basis_points: int
    fixed_minor: tuple[tuple[str, int], ...] = ()
    fixed_minor_default: int = 0
    """For currencies without an entry of their own."""

    def __post_init__(self) -> None:
        refusal = fee_schedule_refusal(self.to_json())
        if refusal is not None:
            raise InvariantViolation(f"fee schedule: {refusal[0]} {refusal[1]}")
        if list(self.fixed_minor) != sorted(dict(self.fixed_minor).items()):
            raise InvariantViolation("fixed_minor must be sorted, one entry a currency")

    def fee(self, amount: Money) -> Money:
        """Return our fee on a gross ``amount``: 0 <= fee <= amount.

        The share is rounded half-even to a minor unit, then the fixed part is added: so a statement
        that shows the two parts adds up.
        """
        return Money(self.fee_minor(amount.amount_minor, amount.currency), amount.currency)

    def fee_minor(self, amount_minor: int, currency: str) -> int:
        """Return the same in minor units, for callers that have checked amount and currency."""
        if amount_minor < 0:
            raise InvariantViolation("there is no fee on a negative amount")
        share_minor = share_half_even(amount_minor, self.basis_points)
        return min(share_minor + self._fixed_minor_in(currency), amount_minor)

    def to_json(self) -> dict[str, object]:
        """Return the API's form, such as {"basis_points": 290, "fixed": {"USD": 30}}."""
        document: dict[str, object] = {
            "basis_points": self.basis_points,
            "fixed": dict(self.fixed_minor),
        }
        if self.fixed_minor_default != 0:
            document["fixed_default"] = self.fixed_minor_default
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> FeeSchedule:
        """Return the schedule of an API form. Raises InvariantViolation where one is refused."""
        refusal = fee_schedule_refusal(document)
        if refusal is not None:
            raise InvariantViolation(f"fee schedule: {refusal[0]} {refusal[1]}")
        fixed = document.get("fixed", {})
        basis_points, default = document["basis_points"], document.get("fixed_default", 0)
        assert isinstance(fixed, Mapping)
        assert isinstance(basis_points, int)
        assert isinstance(default, int)
        return cls(
            basis_points=basis_points,
            fixed_minor=tuple(sorted(fixed.items())),
            fixed_minor_default=default,
        )

    def _fixed_minor_in(self, currency: str) -> int:
        for fixed_currency, minor in self.fixed_minor:
            if fixed_currency == currency:
                return minor
        return self.fixed_minor_default


def fee_schedule_refusal(document: Mapping[str, object]) -> tuple[str, str] | None:
    """Return (JSON path, reason) of what is first wrong in an API form, or None if nothing is."""
    unknown = sorted(document.keys() - _MEMBERS)
    if unknown:
        return f"$.{unknown[0]}", "is not a member of a fee"
    if not _is_int_within(document.get("basis_points"), BASIS_POINTS_PER_WHOLE):
        return "$.basis_points", f"must be an integer from 0 to {BASIS_POINTS_PER_WHOLE}"
    fixed = document.get("fixed", {})
    if not isinstance(fixed, Mapping):
        return "$.fixed", "must be an object of currency and minor units"
    for currency, minor in fixed.items():
        if currency not in EXPONENTS:
            return f"$.fixed.{currency}", "is not an ISO 4217 currency"
        if not _is_int_within(minor, FIXED_MINOR_MAX):
            return f"$.fixed.{currency}", f"must be an integer from 0 to {FIXED_MINOR_MAX}"
    if not _is_int_within(document.get("fixed_default", 0), FIXED_MINOR_MAX):
        return "$.fixed_default", f"must be an integer from 0 to {FIXED_MINOR_MAX}"
    return None


def _is_int_within(value: object, value_max: int) -> bool:
    return type(value) is int and 0 <= value <= value_max


SANDBOX_FEE = FeeSchedule(basis_points=290, fixed_minor_default=30)
"""The sandbox merchant's: 2.9 % and 30 minor units in every currency."""
