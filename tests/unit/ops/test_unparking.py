"""What unpark says of payments that are not parked."""

from __future__ import annotations

from uuid import UUID

from ops.unparking import not_parked
from storage.unparking import RestingPayment

PAYMENT = UUID(int=7)


def test_a_payment_that_waits_for_psps_is_told_as_such() -> None:
    """In the words of status, with the reason, and that nothing is to be done."""
    resting = [RestingPayment(psp="psp_1", reason="psp_down")]
    told = not_parked(PAYMENT, resting)
    assert "is not parked: it waits for PSPs, psp_down (psp_1), and goes on by itself" in told


def test_any_other_payment_is_not_parked() -> None:
    """Nothing is claimed of a payment that does not rest."""
    assert not_parked(PAYMENT, []) == f"payment {PAYMENT} is not parked"
