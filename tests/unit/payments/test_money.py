from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.currencies import EXPONENTS
from payments.defects import InvariantViolation
from payments.money import AMOUNT_MINOR_MAX, Money
from tests.strategies import basis_points, currencies, monies

# Enough digits that the reference computation never rounds on its own.
EXACT = Context(prec=60)


@given(amount=monies, points=basis_points)
@pytest.mark.parametrize("rounding", [ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_DOWN])
def test_fraction_is_exact(amount: Money, points: int, rounding: str) -> None:
    """A share equals what exact decimal arithmetic says, rounded once."""
    exact = EXACT.multiply(Decimal(amount.amount_minor), Decimal(points).scaleb(-4))
    expected = exact.quantize(Decimal(1), rounding=rounding, context=EXACT)
    assert amount.fraction(points, rounding) == Money(int(expected), amount.currency)


def test_fraction_rounds_half_to_even_unless_told() -> None:
    """The default rounding favours neither side."""
    assert [Money(n, "USD").fraction(5_000).amount_minor for n in (1, 3, 5, -1, -3)] == [
        0, 2, 2, 0, -2,
    ]  # fmt: skip
    assert Money(3, "USD").fraction(5_000, ROUND_DOWN) == Money(1, "USD")
    assert Money(1, "USD").fraction(5_000, ROUND_HALF_UP) == Money(1, "USD")


def test_fraction_refuses_what_it_cannot_mean() -> None:
    """A negative share and an unknown rounding are defects, not amounts."""
    with pytest.raises(InvariantViolation, match="basis_points"):
        Money(100, "USD").fraction(-1)
    with pytest.raises(InvariantViolation, match="rounding"):
        Money(100, "USD").fraction(1, ROUND_CEILING)


@given(amount=monies, parts=st.integers(1, 50))
def test_split_loses_nothing(amount: Money, parts: int) -> None:
    """The parts sum to the whole, differ by at most one minor unit, and the larger come first."""
    minors = [part.amount_minor for part in amount.split(parts)]
    assert len(minors) == parts
    assert sum(minors) == amount.amount_minor
    assert max(minors) - min(minors) <= 1
    assert minors == sorted(minors, reverse=True)
    assert {part.currency for part in amount.split(parts)} == {amount.currency}


def test_split_in_three() -> None:
    """Ten dollars among three: the odd cent goes to the first."""
    assert Money(1000, "USD").split(parts=3) == (
        Money(334, "USD"),
        Money(333, "USD"),
        Money(333, "USD"),
    )
    with pytest.raises(InvariantViolation, match="parts"):
        Money(1000, "USD").split(parts=0)


@given(amount=monies, other_minor=st.integers(-1000, 1000))
def test_addition_and_subtraction_undo_each_other(amount: Money, other_minor: int) -> None:
    """Within the bounds, what was added can be taken away again."""
    other = Money(other_minor, amount.currency)
    total_minor = amount.amount_minor + other_minor
    if abs(total_minor) > AMOUNT_MINOR_MAX:
        with pytest.raises(InvariantViolation):
            _ = amount + other
        return
    assert (amount + other).amount_minor == total_minor
    assert (amount + other) - other == amount


@given(left=currencies, right=currencies)
def test_only_one_currency_adds_up(left: str, right: str) -> None:
    """Two currencies are never added or subtracted."""
    if left == right:
        assert Money(1, left) + Money(2, right) == Money(3, left)
        return
    with pytest.raises(InvariantViolation, match=left):
        _ = Money(1, left) + Money(1, right)
    with pytest.raises(InvariantViolation, match=right):
        _ = Money(1, left) - Money(1, right)


@pytest.mark.parametrize(
    ("amount_minor", "currency"),
    [
        (AMOUNT_MINOR_MAX + 1, "USD"),
        (-AMOUNT_MINOR_MAX - 1, "USD"),
        (19.99, "USD"),
        (True, "USD"),
        (Decimal(1), "USD"),
        (1, "usd"),
        (1, "XAU"),
        (1, ""),
    ],
)
def test_what_is_no_amount_is_refused(amount_minor: int, currency: str) -> None:
    """Money is an integer that every JSON reader keeps exactly, in a currency with a minor unit."""
    with pytest.raises(InvariantViolation):
        Money(amount_minor, currency)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Money(1999, "USD"), "19.99"),
        (Money(1999, "JPY"), "1999"),
        (Money(1999, "KWD"), "1.999"),
        (Money(7, "USD"), "0.07"),
        (Money(-7, "USD"), "-0.07"),
        (Money(-1999, "JPY"), "-1999"),
        (Money(0, "CLF"), "0.0000"),
        (Money(AMOUNT_MINOR_MAX, "EUR"), "90071992547409.91"),
    ],
)
def test_people_read_whole_units(amount: Money, text: str) -> None:
    """An amount is shown with the decimal places of its currency."""
    assert amount.to_decimal_text() == text


@given(amount=monies)
def test_decimal_text_is_the_amount(amount: Money) -> None:
    """The text for people is exact: it converts back to the same count."""
    exponent = EXPONENTS[amount.currency]
    shown = Decimal(amount.to_decimal_text())
    assert shown.as_tuple().exponent == -exponent
    assert int(shown.scaleb(exponent, context=EXACT)) == amount.amount_minor
