"""Posting: movements become transfers, and the slices they touch move with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from payments.accounts import AccountKey
from payments.decided import Decided
from payments.rows import AccountRow, SliceDeltaRow, TransferRow
from payments.state import AccountHead
from payments.transfers import OF_HOLDS, Movement


class _Running:
    """A slice while a batch posts to it: changed in place, unlike the heads that books hold."""

    __slots__ = (
        "account_no",
        "before",
        "credits_minor",
        "credits_pending_minor",
        "debits_minor",
        "debits_pending_minor",
        "transfer_count",
    )

    def __init__(self, before: AccountHead) -> None:
        self.before = before
        self.account_no = before.account_no
        self.transfer_count = 0
        self.debits_minor = 0
        self.credits_minor = 0
        self.debits_pending_minor = 0
        self.credits_pending_minor = 0

    def after(self) -> AccountHead:
        before = self.before
        return AccountHead.__new__(
            AccountHead,
            account_no=self.account_no,
            version=before.version + self.transfer_count,
            debits_posted_minor=before.debits_posted_minor + self.debits_minor,
            credits_posted_minor=before.credits_posted_minor + self.credits_minor,
            debits_pending_minor=before.debits_pending_minor + self.debits_pending_minor,
            credits_pending_minor=before.credits_pending_minor + self.credits_pending_minor,
        )


class Posting:
    """Posts into one decision, on top of the slices that memory holds."""

    def __init__(
        self, decided: Decided, held: Mapping[AccountKey, AccountHead], batch_seq: int
    ) -> None:
        self._decided = decided
        self._held = held
        self._batch_seq = batch_seq
        self._running: dict[AccountKey, _Running] = {}

    def move(self, order_no: int, movements: Iterable[Movement]) -> None:
        """Post an order's movements, each to both of its slices."""
        decided = self._decided
        for movement in movements:
            amount_minor = movement.amount_minor
            debited = self._slice(movement.debit)
            debited.transfer_count += 1
            credited = self._slice(movement.credit)
            credited.transfer_count += 1
            effect = OF_HOLDS.get(movement.kind)
            if effect is None:
                debited.debits_minor += amount_minor
                credited.credits_minor += amount_minor
            else:
                debited.debits_minor += effect.posted * amount_minor
                credited.credits_minor += effect.posted * amount_minor
                debited.debits_pending_minor += effect.pending * amount_minor
                credited.credits_pending_minor += effect.pending * amount_minor
            decided.transfers.append(
                TransferRow.__new__(
                    TransferRow,
                    partition_index=decided.partition_index,
                    order_no=order_no,
                    step=movement.step,
                    batch_seq=self._batch_seq,
                    kind=movement.kind,
                    debit_account_no=debited.account_no,
                    credit_account_no=credited.account_no,
                    amount_minor=amount_minor,
                    currency=movement.debit.currency,
                )
            )

    def finish(self) -> None:
        """Put into the decision what the batch adds to each slice, and the slices as they are after it.

        Sums, so that the stored balance is folded, never set.
        """
        decided = self._decided
        for key, running in self._running.items():
            decided.slice_heads[key] = running.after()
            decided.slices.append(
                SliceDeltaRow.__new__(
                    SliceDeltaRow,
                    partition_index=decided.partition_index,
                    account_no=running.account_no,
                    version_before=running.before.version,
                    transfer_count=running.transfer_count,
                    debits_posted_minor=running.debits_minor,
                    credits_posted_minor=running.credits_minor,
                    debits_pending_minor=running.debits_pending_minor,
                    credits_pending_minor=running.credits_pending_minor,
                )
            )

    def _slice(self, key: AccountKey) -> _Running:
        """Return the slice as this batch leaves it so far; opens the account at its first use."""
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = _Running(self._held.get(key) or self._opened(key))
        return running

    def _opened(self, key: AccountKey) -> AccountHead:
        decided = self._decided
        decided.account_no_last += 1
        account_no = decided.account_no_last
        decided.accounts.append(AccountRow(decided.partition_index, account_no, *key))
        return AccountHead(
            account_no=account_no, version=0, debits_posted_minor=0, credits_posted_minor=0
        )
