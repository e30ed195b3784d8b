"""Which PSP can take an order."""

from __future__ import annotations

from uuid import UUID

import pytest

from payments.mode import Mode
from payments.routing import Ask, Cost, Route, choose

ROUTES = (
    Route("euro", ("tok_", "card_"), frozenset({"EUR"}), {"EUR": 50}),
    Route("world", ("tok_",), None, {"JPY": 100}, {"KWD": 10}),
    Route("live", ("pm_",), None, {}, {}, Mode.LIVE),
)


def an_ask(
    token: str = "tok_1", currency: str = "EUR", amount_minor: int = 50, mode: Mode = Mode.TEST
) -> Ask:
    """An order of one merchant."""
    return Ask(token, currency, amount_minor, "m_shop", mode, UUID(int=7))


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
        ("tok_1", "KWD", 5_123, None),
        ("tok_1", "KWD", 5_120, "world"),
        ("src_1", "EUR", 50, None),
    ],
)
def test_token_currency_and_amount(
    token: str, currency: str, amount_minor: int, expected: str | None
) -> None:
    """The first that can use the token, in the currency, for the amount."""
    ask = an_ask(token, currency, amount_minor)
    assert choose(ROUTES, ask) == expected
    assert [route.can_take(ask) for route in ROUTES] == [
        route.obstacle(ask) is None for route in ROUTES
    ]


def test_real_money_goes_to_real_accounts_alone() -> None:
    """An account takes the orders of its own mode, whatever the token."""
    assert choose(ROUTES, an_ask("pm_1", mode=Mode.LIVE)) == "live"
    assert choose(ROUTES, an_ask("pm_1", mode=Mode.TEST)) is None


def test_whom_to_avoid() -> None:
    """An avoided PSP is passed over; with all avoided there is none."""
    assert choose(ROUTES, an_ask(), avoiding={"euro"}) == "world"
    assert choose(ROUTES, an_ask(), avoiding={"euro", "world"}) is None


def test_a_cost_is_exact() -> None:
    """A share and a fixed part by currency, without rounding: they are only compared."""
    cost = Cost(145, {"USD": 30})
    assert cost.ten_thousandths(1_999, "USD") == 1_999 * 145 + 300_000
    assert cost.ten_thousandths(1_999, "EUR") == 1_999 * 145
