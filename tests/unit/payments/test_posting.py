"""Posting: slices move with the transfers, and new accounts get the next numbers."""

from __future__ import annotations

from payments.accounts import AccountKey, fee_income, wallet
from payments.chain import GENESIS
from payments.decided import Decided
from payments.mode import Mode
from payments.posting import Posting
from payments.rows import TransferKind
from payments.state import AccountHead, PartitionHead
from payments.transfers import Movement

SELLER = wallet(1, Mode.TEST, 1, "EUR")
FEES = fee_income(1, Mode.TEST, "EUR")
HEAD = PartitionHead(
    partition_index=3, epoch=1, batch_seq=6, order_no_last=9, account_no_last=4, chain_hash=GENESIS
)


def _fee(step: int, amount_minor: int) -> Movement:
    return Movement(step, TransferKind.FEE, SELLER, FEES, amount_minor)


def _posted(held: dict[AccountKey, AccountHead]) -> Decided:
    decided = Decided(3, HEAD, order_no_last=9, account_no_last=4)
    posting = Posting(decided, held, 7)
    posting.move(8, [_fee(1, 30)])
    posting.move(9, [_fee(1, 12), _fee(2, 1)])
    posting.finish()
    return decided


def test_one_delta_a_slice() -> None:
    """A batch adds to each slice once: all its transfers, counted, on top of what was stored."""
    head = AccountHead(account_no=2, version=5, debits_posted_minor=100, credits_posted_minor=900)
    held = {SELLER: head}
    decided = _posted(held)
    assert [row[:6] for row in decided.slices] == [(3, 2, 5, 3, 43, 0), (3, 5, 0, 3, 0, 43)]
    assert decided.slice_heads[SELLER].version == 8
    assert held == {SELLER: head}


def test_new_accounts_are_numbered_on() -> None:
    """An account that memory and ledger do not have is opened once, under the next number."""
    decided = _posted({})
    assert [(row.account_no, row.holder) for row in decided.accounts] == [(5, "1"), (6, "")]
    assert decided.account_no_last == 6
    assert {(t.debit_account_no, t.credit_account_no) for t in decided.transfers} == {(5, 6)}
    assert {t.batch_seq for t in decided.transfers} == {7}
