from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.defects import InvariantViolation
from payments.fees import FIXED_MINOR_MAX, SANDBOX_FEE, FeeSchedule, fee_schedule_refusal
from payments.money import Money
from tests.strategies import basis_points, currencies, payment_monies

fixed_minors = st.integers(0, FIXED_MINOR_MAX)
schedules = st.builds(
    lambda points, fixed, default: FeeSchedule(
        basis_points=points,
        fixed_minor=tuple(sorted(fixed.items())),
        fixed_minor_default=default,
    ),
    basis_points,
    st.dictionaries(currencies, fixed_minors, max_size=5),
    fixed_minors,
)


@given(schedule=schedules, amount=payment_monies)
def test_fee_is_share_plus_fixed_within_the_gross(schedule: FeeSchedule, amount: Money) -> None:
    """A fee is the rounded share plus the currency's fixed part, never more than the payment."""
    fixed_minor = dict(schedule.fixed_minor).get(amount.currency, schedule.fixed_minor_default)
    share_minor = round(Fraction(amount.amount_minor * schedule.basis_points, 10_000))
    fee = schedule.fee(amount)
    assert fee == Money(min(share_minor + fixed_minor, amount.amount_minor), amount.currency)
    assert 0 <= fee.amount_minor <= amount.amount_minor


@pytest.mark.parametrize(
    ("amount", "fee_minor"),
    [
        (Money(1999, "USD"), 88),
        (Money(10_000, "USD"), 320),
        (Money(5_000, "EUR"), 175),  # 145 exactly
        (Money(50, "JPY"), 31),  # 1.45
        (Money(2_500, "KWD"), 102),  # 72.5 goes to the even 72
        (Money(7_500, "KWD"), 248),  # 217.5 goes to the even 218
        (Money(30, "USD"), 30),
        (Money(1, "USD"), 1),
        (Money(0, "USD"), 0),
    ],
)
def test_sandbox_fee(amount: Money, fee_minor: int) -> None:
    """The sandbox merchant pays 2.9 % and 30 minor units in every currency, at most the amount."""
    assert SANDBOX_FEE.fee(amount) == Money(fee_minor, amount.currency)


def test_fixed_part_depends_on_the_currency() -> None:
    """A currency without a fixed part of its own has the default one."""
    schedule = FeeSchedule.from_json(
        {"basis_points": 0, "fixed": {"USD": 30, "EUR": 25}, "fixed_default": 5}
    )
    fees = [schedule.fee(Money(1000, code)).amount_minor for code in ("USD", "EUR", "GBP")]
    assert fees == [30, 25, 5]


def test_free_sellers_pay_nothing() -> None:
    """A seller's fee may be zero."""
    assert FeeSchedule(basis_points=0).fee(Money(1999, "USD")) == Money(0, "USD")


def test_no_fee_on_a_negative_amount() -> None:
    """Asking for the fee of a refund is a defect."""
    with pytest.raises(InvariantViolation):
        SANDBOX_FEE.fee(Money(-1, "USD"))


@given(schedule=schedules)
def test_json_form_leads_back(schedule: FeeSchedule) -> None:
    """A schedule survives its way through the API and the database."""
    assert fee_schedule_refusal(schedule.to_json()) is None
    assert FeeSchedule.from_json(schedule.to_json()) == schedule


def test_json_form_is_the_documented_one() -> None:
    """The API shows a fee as it was sent."""
    document = {"basis_points": 290, "fixed": {"USD": 30}}
    assert FeeSchedule.from_json(document).to_json() == document
    assert SANDBOX_FEE.to_json() == {"basis_points": 290, "fixed": {}, "fixed_default": 30}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, "$.basis_points"),
        ({"basis_points": -1}, "$.basis_points"),
        ({"basis_points": 10_001}, "$.basis_points"),
        ({"basis_points": 2.9}, "$.basis_points"),
        ({"basis_points": True}, "$.basis_points"),
        ({"basis_points": "290"}, "$.basis_points"),
        ({"basis_points": 290, "fixed": [30]}, "$.fixed"),
        ({"basis_points": 290, "fixed": None}, "$.fixed"),
        ({"basis_points": 290, "fixed": {"usd": 30}}, "$.fixed.usd"),
        ({"basis_points": 290, "fixed": {"USD": -1}}, "$.fixed.USD"),
        ({"basis_points": 290, "fixed": {"USD": 0.3}}, "$.fixed.USD"),
        ({"basis_points": 290, "fixed": {"USD": FIXED_MINOR_MAX + 1}}, "$.fixed.USD"),
        ({"basis_points": 290, "fixed_default": -1}, "$.fixed_default"),
        ({"basis_points": 290, "percent": 3}, "$.percent"),
    ],
)
def test_refusals_say_where(document: dict[str, object], path: str) -> None:
    """What is wrong in a fee is named by its JSON path, and no schedule is built from it."""
    refusal = fee_schedule_refusal(document)
    assert refusal is not None
    assert refusal[0] == path
    with pytest.raises(InvariantViolation):
        FeeSchedule.from_json(document)


def test_a_schedule_has_one_form() -> None:
    """Equal schedules are equal values: entries are sorted, one a currency."""
    for fixed in ((("USD", 1), ("EUR", 1)), (("EUR", 1), ("EUR", 2))):
        with pytest.raises(InvariantViolation, match="sorted"):
            FeeSchedule(basis_points=0, fixed_minor=fixed)
    with pytest.raises(InvariantViolation, match="basis_points"):
        FeeSchedule(basis_points=10_001)
