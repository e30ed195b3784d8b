"""The bytes of a charge, which are stored and sent again by later releases."""

from __future__ import annotations

from uuid import UUID

from psp.port import ChargeTerms
from psp.sandbox_format import canonical_charge

TERMS = ChargeTerms(
    amount_minor=1_999,
    currency="USD",
    token="tok_approve",
    merchant_id="m_1",
    order_key=UUID("6f9619ff-8b86-4011-b42d-00cf4fc964ff"),
    capture=True,
    description="Schuhe für 2",
)


def test_the_bytes_of_a_charge_never_change() -> None:
    """Same terms, same bytes, in every release: stored attempts are sent again."""
    assert canonical_charge(TERMS).decode() == (
        '{"amount":1999,"capture":true,"currency":"USD","description":"Schuhe für 2",'
        '"metadata":{"merchant":"m_1","order_key":"6f9619ff-8b86-4011-b42d-00cf4fc964ff"},'
        '"token":"tok_approve","v":1}'
    )
