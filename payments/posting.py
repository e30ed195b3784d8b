"""Posting: movements become transfers, and the slices they touch move with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from payments.accounts import AccountKey
from payments.decided import Decided
from payments.rows import AccountRow, SliceDeltaRow, TransferRow
from payments.state import AccountHead
from payments.transfers import Movement


class Posting:
    """Posts into one decision, on top of the slices that memory holds."""

    def __init__(
        self, decided: Decided, held: Mapping[AccountKey, AccountHead], batch_seq: int
    ) -> None:
        self._decided = decided
        self._held = held
        self._batch_seq = batch_seq

    def move(self, order_no: int, movements: Iterable[Movement]) -> None:
        """Post an order's movements, each to both of its slices."""
        decided = self._decided
        for movement in movements:
            amount_minor = movement.amount_minor
            debit_no = self._post(movement.debit, debit_minor=amount_minor, credit_minor=0)
            credit_no = self._post(movement.credit, debit_minor=0, credit_minor=amount_minor)
            decided.transfers.append(
                TransferRow(
                    partition_index=decided.partition_index,
                    order_no=order_no,
                    step=movement.step,
                    batch_seq=self._batch_seq,
                    kind=movement.kind,
                    debit_account_no=debit_no,
                    credit_account_no=credit_no,
                    amount_minor=amount_minor,
                    currency=movement.debit.currency,
                )
            )

    def slice_rows(self) -> Iterable[SliceDeltaRow]:
        """What the batch adds to each slice: sums, so that the stored balance is folded, never set."""
        for key, after in self._decided.slice_heads.items():
            before = self._held.get(key) or _opened(after.account_no)
            yield SliceDeltaRow(
                partition_index=self._decided.partition_index,
                account_no=after.account_no,
                version_before=before.version,
                transfer_count=after.version - before.version,
                debits_posted_minor=after.debits_posted_minor - before.debits_posted_minor,
                credits_posted_minor=after.credits_posted_minor - before.credits_posted_minor,
            )

    def _post(self, key: AccountKey, *, debit_minor: int, credit_minor: int) -> int:
        """Add one side of a transfer to its slice; opens the account at its first use. Returns its number."""
        decided = self._decided
        head = decided.slice_heads.get(key) or self._held.get(key)
        if head is None:
            decided.account_no_last += 1
            head = _opened(decided.account_no_last)
            decided.accounts.append(AccountRow(decided.partition_index, head.account_no, *key))
        decided.slice_heads[key] = head._replace(
            version=head.version + 1,
            debits_posted_minor=head.debits_posted_minor + debit_minor,
            credits_posted_minor=head.credits_posted_minor + credit_minor,
        )
        return head.account_no


def _opened(account_no: int) -> AccountHead:
    return AccountHead(
        account_no=account_no, version=0, debits_posted_minor=0, credits_posted_minor=0
    )
