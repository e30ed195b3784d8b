"""Which money moves when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from payments.accounts import NORMAL_SIDES, AccountKind, fee_income, psp_receivable, wallet
from payments.mode import Mode
from payments.money import AMOUNT_MINOR_MAX
from payments.rows import TransferKind
from payments.splits import SPLITS_MAX, SPLITS_MIN, Split
from payments.transfers import accounts_of, of_authorization, of_success
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


@given(st.lists(st.integers(1, 10**9), min_size=SPLITS_MIN, max_size=SPLITS_MAX), st.data())
def test_a_split_success_moves_each_part_and_its_fee(parts: list[int], data: st.DataObject) -> None:
    """The charges sum to the gross, each to its own seller; each pays its own fee; no step is used twice."""
    splits = tuple(
        Split(seller_no, part, data.draw(st.integers(0, part)))
        for seller_no, part in enumerate(parts, 1)
    )
    command = a_command(amount_minor=sum(parts))._replace(splits=splits)
    movements = of_success(command, "psp")
    charges = [movement for movement in movements if movement.kind is TransferKind.CHARGE]
    assert sum(movement.amount_minor for movement in charges) == command.amount_minor
    assert len({movement.step for movement in movements}) == len(movements)
    for split in splits:
        seller = wallet(7, Mode.TEST, split.seller_no, "USD")
        of_seller = [moved for moved in movements if seller in (moved.debit, moved.credit)]
        assert [(m.kind, m.amount_minor) for m in of_seller] == [
            (TransferKind.CHARGE, split.amount_minor),
            *([(TransferKind.FEE, split.fee_minor)] if split.fee_minor else []),
        ]
        assert of_seller[0].debit == psp_receivable(7, Mode.TEST, "psp", "USD")
        assert of_seller[-1].credit in (seller, fee_income(7, Mode.TEST, "USD"))


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 1)), max_size=SPLITS_MAX),
    st.booleans(),
)
def test_the_accounts_of_a_charge_are_those_it_moves_money_on(
    parts: list[tuple[int, int]], captures_manually: bool
) -> None:
    """One seller's or several sellers', with and without fees, captured at once or later: none more, none less."""
    command = a_command()._replace(
        captures_manually=captures_manually,
        fee_minor=sum(fee_minor for _, fee_minor in parts),
        splits=tuple(
            Split(seller_no, amount_minor, fee_minor)
            for seller_no, (amount_minor, fee_minor) in enumerate(parts, 1)
        )
        if len(parts) >= SPLITS_MIN
        else None,
    )
    moves = of_authorization if captures_manually else of_success
    moved_on = {key for moved in moves(command, "psp") for key in (moved.debit, moved.credit)}
    assert set(accounts_of(command, "psp", None)) == moved_on
