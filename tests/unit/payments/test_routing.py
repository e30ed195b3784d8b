"""Which PSP can take an order."""

from __future__ import annotations

import pytest

from payments.routing import Route, choose

ROUTES = (
    Route("euro", ("tok_", "card_"), frozenset({"EUR"}), {"EUR": 50}),
    Route("world", ("tok_",), None, {"JPY": 100}),
)


@pytest.mark.parametrize(
    ("token", "currency", "amount_minor", "expected"),
    [
        ("tok_1", "EUR", 50, "euro"),
        ("card_1", "EUR", 50, "euro"),
        ("tok_1", "EUR", 49, "world"),
        ("card_1", "EUR", 49, None),
        ("tok_1", "USD", 1, "world"),
        ("card_1", "USD", 1, None),
        ("tok_1", "JPY", 99, None),
        ("tok_1", "JPY", 100, "world"),
        ("src_1", "EUR", 50, None),
    ],
)
def test_token_currency_and_minimum(
    token: str, currency: str, amount_minor: int, expected: str | None
) -> None:
    """The first that can use the token, in the currency, for the amount."""
    assert choose(ROUTES, token=token, currency=currency, amount_minor=amount_minor) == expected


def test_whom_to_avoid() -> None:
    """An avoided PSP is passed over; with all avoided there is none."""
    assert (
        choose(ROUTES, token="tok_1", currency="EUR", amount_minor=50, avoiding={"euro"}) == "world"
    )
    assert (
        choose(ROUTES, token="tok_1", currency="EUR", amount_minor=50, avoiding={"euro", "world"})
        is None
    )
