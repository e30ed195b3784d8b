"""Charges of several sellers: each has the part that was accepted, and its share of all that follows.

A part of I6. Whose wallet a row moves on is told by its account; the share that it has to be, by what that
seller has left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loadtest.checker.findings import Findings, Subject
from loadtest.checker.joined import Joined, id_of
from loadtest.checker.records import OrderId, OrderRecord, SplitRecord, TransferRecord

Shares = Mapping[str, int]
"""Minor units by seller."""


class Deed(NamedTuple):
    """What one number of a partition moved of a payment, by kind and seller."""

    batch_seq: int
    kinds: frozenset[str]
    by_kind: Mapping[str, Counter[str]]

    def of(self, kind: str) -> Counter[str]:
        return self.by_kind.get(kind, Counter())


def each_seller_has_its_share(joined: Joined, found: Findings) -> None:
    """Parts sum to their order; no seller's is captured above it, or given back above that; each share of a
    capture or refund is in proportion to what is left, to the minor unit, and takes its part of the fee.
    """
    for here, parts in joined.splits.items():
        order = joined.order_by_id.get(here)
        wrong = _wrong_parts(order, parts) or _wrong_shares(joined, here, parts)
        found.check(wrong is None, f"order {here} {wrong}", Subject(order=here))


def _wrong_parts(order: OrderRecord | None, parts: Sequence[SplitRecord]) -> str | None:
    if order is None:
        return "has parts, and is not there"
    if [part.position for part in parts] != list(range(len(parts))) or len(parts) < 2:
        return f"has the parts {[part.position for part in parts]}"
    if len({part.seller for part in parts}) < len(parts):
        return "has two parts of one seller"
    sums = (sum(part.amount_minor for part in parts), sum(part.fee_minor for part in parts))
    whole = (order.amount_minor, order.fee_minor)
    return None if sums == whole else f"has parts of {sums}, and is of {whole}"


def _wrong_shares(joined: Joined, here: OrderId, parts: Sequence[SplitRecord]) -> str | None:
    parts_minor = {part.seller: part.amount_minor for part in parts}
    captured: Counter[str] = Counter()
    refunded: Counter[str] = Counter()
    released: Counter[str] = Counter()
    fees: Counter[str] = Counter()
    is_disputed = any(
        (row.partition_index, row.payment_no) == here for row in joined.records.disputes
    )
    deeds = _deeds(joined, here)
    of_batches = Counter(deed.batch_seq for deed in deeds)
    for deed in deeds:
        if deed.kinds & {"charge", "authorization"}:
            begun = deed.of("charge") + deed.of("authorization")
            if begun != parts_minor:
                return f"began with {dict(begun)} of {parts_minor}"
        held = {seller: minor - captured[seller] for seller, minor in parts_minor.items()}
        got = {seller: captured[seller] - refunded[seller] for seller in parts_minor}
        # Which of two deeds of one batch came first is not told; a dispute takes from refunds.
        if of_batches[deed.batch_seq] == 1:
            wrong = _uneven(deed.of("capture"), held)
            wrong = wrong or (None if is_disputed else _uneven(deed.of("refund"), got))
            if wrong is not None:
                return wrong
        captured += deed.of("charge") + deed.of("capture")
        refunded += deed.of("refund")
        released += deed.of("release")
        fees += deed.of("fee")
    for part in parts:
        name, minor = part.seller, captured[part.seller]
        if minor > part.amount_minor or refunded[name] > minor:
            return (
                f"captured {minor} of {name}'s {part.amount_minor}, and gave {refunded[name]} back"
            )
        if fees[name] != part.fee_minor * minor // part.amount_minor:
            return f"took {fees[name]} of {name}'s fee of {part.fee_minor} on {minor}"
        if released[name] not in (0, part.amount_minor - minor):
            return f"released {released[name]} of what {name} had left"
    return None


def _uneven(shares: Shares, left_minor: Shares) -> str | None:
    """Return what is wrong with shares that should be in proportion to these amounts, or None.

    Each is its proportion, rounded down or up.
    """
    whole_minor, left_sum_minor = sum(shares.values()), sum(left_minor.values())
    for seller, left in left_minor.items():
        off = abs(shares.get(seller, 0) * left_sum_minor - whole_minor * left)
        if whole_minor and off >= left_sum_minor:
            return f"moved {dict(shares)} of {dict(left_minor)}"
    return None


def _deeds(joined: Joined, here: OrderId) -> list[Deed]:
    """Return what the order, and the operations on it, moved, in the order of their batches."""
    places = [here, *(id_of(row) for row in joined.operations.get(here, ()))]
    deeds = [_deed(joined, rows) for place in places if (rows := joined.transfers.get(place))]
    return sorted(deeds, key=lambda deed: deed.batch_seq)


def _deed(joined: Joined, rows: Sequence[TransferRecord]) -> Deed:
    by_kind: dict[str, Counter[str]] = {}
    for row in rows:
        by_kind.setdefault(row.kind, Counter())[_seller(joined, row)] += row.amount_minor
    return Deed(rows[0].batch_seq, frozenset(by_kind), by_kind)


def _seller(joined: Joined, row: TransferRecord) -> str:
    """Return whose wallet a row moves on, by its account."""
    for account_no in (row.debit_account_no, row.credit_account_no):
        account = joined.account_by_id.get((row.partition_index, account_no))
        if account is not None and account.kind == "wallet":
            return account.holder
    return ""
