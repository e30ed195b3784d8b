"""Hypothesis strategies that several test modules share."""

from __future__ import annotations

from uuid import UUID

from hypothesis import strategies as st

from loadtest.bad_input.drawing import luhn_check_digit
from payments.card_numbers import ISSUER_RANGES, LENGTH_MAX, LENGTH_MIN
from payments.currencies import EXPONENTS
from payments.mode import Mode
from payments.money import AMOUNT_MINOR_MAX, Money

modes = st.sampled_from(Mode)
currencies = st.sampled_from(sorted(EXPONENTS))
uuids: st.SearchStrategy[UUID] = st.uuids(allow_nil=True)
basis_points = st.integers(0, 10_000)
partition_counts = st.integers(1, 4096)

# What the API accepts, and everything that a book can hold.
payment_amounts_minor = st.integers(1, AMOUNT_MINOR_MAX)
amounts_minor = st.integers(-AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX)
payment_monies = st.builds(Money, payment_amounts_minor, currencies)
monies = st.builds(Money, amounts_minor, currencies)


@st.composite
def card_numbers(draw: st.DrawFn) -> str:
    """Luhn-valid numbers of every issuer range and length, as digits alone."""
    issuer = draw(st.sampled_from(ISSUER_RANGES))
    length = draw(st.integers(LENGTH_MIN, LENGTH_MAX))
    prefix = str(draw(st.integers(int(issuer.first), int(issuer.last))))
    rest_length = length - 1 - len(prefix)
    rest = draw(st.text("0123456789", min_size=rest_length, max_size=rest_length))
    return prefix + rest + luhn_check_digit(prefix + rest)


@st.composite
def spaced(draw: st.DrawFn, digits: st.SearchStrategy[str]) -> str:
    """Digits with a space, a hyphen or nothing between each two."""
    number = draw(digits)
    gap_count = len(number) - 1
    gaps = draw(st.lists(st.sampled_from(["", " ", "-"]), min_size=gap_count, max_size=gap_count))
    return "".join(digit + gap for digit, gap in zip(number, [*gaps, ""], strict=True))
