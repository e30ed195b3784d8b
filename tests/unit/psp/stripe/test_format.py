"""The bytes that are sent to Stripe, and what is never sent."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import pytest

from payments.currencies import EXPONENTS
from psp.port import ChargeTerms
from psp.stripe.currencies import (
    CURRENCIES,
    MINIMUMS_MINOR,
    MULTIPLES_MINOR,
    from_stripe,
    to_stripe,
)
from psp.stripe.format import bodies_of, canonical_charge, capabilities

BACK = "https://shop.example/back?a=1&b=2"


def terms(**changes: Any) -> ChargeTerms:
    return ChargeTerms(
        amount_minor=1_999,
        currency="EUR",
        token="pm_1",
        merchant_id="m_shop",
        order_key=UUID(int=7),
        capture=True,
        description="two\nlines & more",
    )._replace(**changes)


def test_both_bodies_are_fixed_before_anything_is_sent() -> None:
    """Equal terms, equal bytes; the key is added to the first body, and the second confirms nothing new."""
    request = canonical_charge(terms(), return_url=BACK)
    assert request == canonical_charge(terms(), return_url=BACK)
    bodies = bodies_of(request, "tly_key")
    assert not isinstance(bodies, str)
    assert dict(parse_qsl(bodies.create.decode())) == {
        "amount": "1999",
        "currency": "eur",
        "payment_method": "pm_1",
        "payment_method_types[0]": "card",
        "capture_method": "automatic",
        "metadata[tally_merchant]": "m_shop",
        "metadata[tally_order]": str(UUID(int=7)),
        "description": "two\nlines & more",
        "metadata[tally_key]": "tly_key",
    }
    assert dict(parse_qsl(bodies.confirm.decode())) == {
        "expand[0]": "latest_charge",
        "return_url": BACK,
    }


def test_manual_capture_is_asked_for() -> None:
    """A mere authorization says so when it is created."""
    bodies = bodies_of(canonical_charge(terms(capture=False), return_url=""), "k")
    assert not isinstance(bodies, str)
    assert b"capture_method=manual" in bodies.create
    assert b"return_url" not in bodies.confirm


@pytest.mark.parametrize("currency", ["UGX", "MGA", "XXX"])
def test_a_currency_whose_factor_is_not_known_is_never_sent(currency: str) -> None:
    """A hundredfold charge is worse than a refused one."""
    request = canonical_charge(terms(currency=currency), return_url="")
    assert bodies_of(request, "k") == "currency_not_supported"


def test_what_is_taken_has_minor_units() -> None:
    """Every currency and every bound is one of ISO 4217, and keys live as long as Stripe says."""
    assert type(CURRENCIES) is frozenset, "machine code takes nothing else where that is wanted"
    assert EXPONENTS.keys() >= CURRENCIES >= MINIMUMS_MINOR.keys() | MULTIPLES_MINOR.keys()
    threes = {code for code in CURRENCIES if EXPONENTS[code] == 3}
    assert threes == MULTIPLES_MINOR.keys()
    able = capabilities(is_live=True)
    assert (able.key_lifetime_s, able.is_sandbox, able.prepares) == (86_400, False, True)
    assert capabilities(is_live=False).is_sandbox


@pytest.mark.parametrize("currency", sorted(CURRENCIES))
def test_amounts_survive_the_way_there_and_back(currency: str) -> None:
    """What is sent for an amount is read as the same amount."""
    sent = to_stripe(1_230, currency)
    assert sent == (123_000 if currency == "ISK" else 1_230)
    assert from_stripe(sent, currency) == 1_230
