"""Which money moves when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from payments.accounts import NORMAL_SIDES, AccountKind, fee_income, psp_receivable, wallet
from payments.mode import Mode
from payments.money import AMOUNT_MINOR_MAX
from payments.rows import TransferKind
from payments.transfers import of_success
from tests.queue_commands import a_command


@given(st.integers(1, AMOUNT_MINOR_MAX), st.data())
def test_a_success_moves_the_gross_and_the_fee(amount_minor: int, data: st.DataObject) -> None:
    """The PSP owes the gross, the seller has it less the fee, we have the fee; a zero fee is no row."""
    fee_minor = data.draw(st.integers(0, amount_minor))
    command = a_command(amount_minor=amount_minor)._replace(fee_minor=fee_minor)
    movements = of_success(command, "psp")
    seller = wallet(7, Mode.TEST, 11, "USD")
    assert movements[0][:4] == (
        1,
        TransferKind.CHARGE,
        psp_receivable(7, Mode.TEST, "psp", "USD"),
        seller,
    )
    assert [m.amount_minor for m in movements] == [amount_minor, fee_minor][: len(movements)]
    assert (len(movements) == 2) == (fee_minor > 0)
    if fee_minor:
        assert movements[1][:4] == (
            2,
            TransferKind.FEE,
            seller,
            fee_income(7, Mode.TEST, "USD"),
        )
    assert all(movement.debit != movement.credit for movement in movements)


def test_every_kind_of_account_has_a_normal_side() -> None:
    """No account is without a rule for its balance."""
    assert NORMAL_SIDES.keys() == set(AccountKind)
