"""Amounts for people."""

from __future__ import annotations

import pytest

from ops.money_text import amount_text


@pytest.mark.parametrize(
    ("amount_minor", "currency", "text"),
    [
        (1999, "USD", "19.99 USD"),
        (5, "USD", "0.05 USD"),
        (-88, "USD", "-0.88 USD"),
        (500, "JPY", "500 JPY"),
        (1234, "KWD", "1.234 KWD"),
        (7, "ZZZ", "7 ZZZ (minor units)"),
    ],
)
def test_amounts_have_their_currencys_digits(amount_minor: int, currency: str, text: str) -> None:
    """Minor units are shown with the ISO exponent, unknown currencies as they are."""
    assert amount_text(amount_minor, currency) == text
