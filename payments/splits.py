"""Splits: one charge shared among several sellers, and how each later movement of it is shared.

A part of the charge is shared over what each seller has *left* of it, never over what it had at first: so
any sequence of captures and refunds takes nothing from a seller that it does not have, and the last of
them takes exactly the rest. Largest remainders of running totals would not do: with three sellers or
more, a larger total can give one of them less than a smaller total did (the Alabama paradox), and that
step would move money backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from payments.defects import InvariantViolation

# One seller is no split.
SPLITS_MIN = 2
# As many as a checkout has orders. Each is two transfers at most, so a charge stays below fifty rows.
SPLITS_MAX = 20


class Split(NamedTuple):
    """One seller's part of a charge as accepted, in minor units of the charge's currency."""

    seller_no: int
    amount_minor: int
    """The gross, at least 1."""
    fee_minor: int
    """Our fee on it: 0 <= fee <= amount."""


class SplitRow(NamedTuple):
    """One seller's part as a flush writes it. Never changed: what became of it is in the transfers."""

    partition_index: int
    order_no: int
    position: int
    """From 0, in the order that the storefront gave."""
    seller_no: int
    amount_minor: int
    fee_minor: int


def split_rows(partition_index: int, order_no: int, splits: Sequence[Split]) -> list[SplitRow]:
    """Return an order's splits as rows, in their order."""
    return [
        SplitRow(partition_index, order_no, position, *split)
        for position, split in enumerate(splits)
    ]


class SplitStanding(NamedTuple):
    """What became of one seller's part so far, in minor units."""

    split: Split
    captured_minor: int = 0
    refunded_minor: int = 0
    disputed_minor: int = 0
    """In the dispute hold, or lost from there."""
    fee_taken_minor: int = 0

    @property
    def held_minor(self) -> int:
        """What is not captured of it."""
        return self.split.amount_minor - self.captured_minor

    @property
    def refundable_minor(self) -> int:
        """What was captured of it and is still the seller's; 0 where a dispute has driven it below."""
        return max(0, self.captured_minor - self.refunded_minor - self.disputed_minor)

    def captured(self, share_minor: int) -> SplitStanding:
        """Return it with a further capture, and the fee that comes with it: in proportion to all that is
        captured then, rounded down, so the whole fee once all is captured."""
        captured_minor = self.captured_minor + share_minor
        fee_minor = self.split.fee_minor * captured_minor // self.split.amount_minor
        return self._replace(captured_minor=captured_minor, fee_taken_minor=fee_minor)


class SplitRefusal(NamedTuple):
    """What is first wrong: the place within the splits as a JSON path, and the rule."""

    path: str
    reason: str


def splits_refusal(splits: Sequence[Split], amount_minor: int) -> SplitRefusal | None:
    """Return what is first wrong with the splits of a charge of ``amount_minor``, or None."""
    if not SPLITS_MIN <= len(splits) <= SPLITS_MAX:
        return SplitRefusal("$.splits", f"must be {SPLITS_MIN} to {SPLITS_MAX} parts")
    sellers: set[int] = set()
    for position, split in enumerate(splits):
        path = f"$.splits[{position}]"
        if split.amount_minor < 1:
            return SplitRefusal(f"{path}.amount", "must be at least 1")
        if not 0 <= split.fee_minor <= split.amount_minor:
            return SplitRefusal(f"{path}.fee", "must be from 0 to the split's amount")
        if split.seller_no in sellers:
            return SplitRefusal(f"{path}.seller", "has a split already")
        sellers.add(split.seller_no)
    sum_minor = sum(split.amount_minor for split in splits)
    if sum_minor != amount_minor:
        return SplitRefusal("$.splits", f"must sum to the amount, {amount_minor}, not {sum_minor}")
    return None


def shares_minor(amount_minor: int, left_minor: Sequence[int]) -> list[int]:
    """Share an amount in proportion to what each has left; exact in sum, and 0 <= share <= left.

    Each gets its proportion rounded down; the minor units over go one each to the largest remainders, the
    earlier first among equals. An amount of all that is left gives each all of its own. Raises
    InvariantViolation for an amount below 0 or above what is left in all.
    """
    left_sum_minor = sum(left_minor)
    if min(left_minor, default=0) < 0 or not 0 <= amount_minor <= left_sum_minor:
        raise InvariantViolation(f"{amount_minor} cannot be taken from {list(left_minor)}")
    if amount_minor == 0:
        return [0] * len(left_minor)
    shares: list[int] = []
    remainders: list[int] = []
    for left in left_minor:
        share, remainder = divmod(amount_minor * left, left_sum_minor)
        shares.append(share)
        remainders.append(remainder)
    over = amount_minor - sum(shares)
    # A unit over only reaches a remainder above 0, and such a share was rounded down: it stays <= left.
    for position in sorted(range(len(shares)), key=lambda at: -remainders[at])[:over]:
        shares[position] += 1
    return shares


def capture_shares_minor(standings: Sequence[SplitStanding], amount_minor: int) -> list[int]:
    """Return each seller's share of a capture, over what is not captured yet."""
    return shares_minor(amount_minor, [standing.held_minor for standing in standings])


def refund_shares_minor(standings: Sequence[SplitStanding], amount_minor: int) -> list[int]:
    """Return each seller's share of a refund, over what is still the seller's.

    A dispute may have taken that while the refund was on its way. The PSP has done it all the same, so what
    is missing is shared over all that was captured and not given back: nobody gives back more than it got.
    """
    left_minor = [standing.refundable_minor for standing in standings]
    covered_minor = min(amount_minor, sum(left_minor))
    covered = shares_minor(covered_minor, left_minor)
    got_minor = [
        standing.captured_minor - standing.refunded_minor - share
        for standing, share in zip(standings, covered, strict=True)
    ]
    excess = shares_minor(amount_minor - covered_minor, got_minor)
    return [share + over for share, over in zip(covered, excess, strict=True)]


def dispute_shares_minor(standings: Sequence[SplitStanding], amount_minor: int) -> list[int]:
    """Return each seller's share of a dispute; what a won one gives back are these very shares.

    A PSP may dispute what was refunded already, or what it told us no capture of yet. So much of it as
    the sellers still have is shared as a refund is, and the excess over their parts as accepted.
    Without parts there are no shares.
    """
    if not standings:
        return []
    left_minor = [standing.refundable_minor for standing in standings]
    covered_minor = min(amount_minor, sum(left_minor))
    covered = shares_minor(covered_minor, left_minor)
    parts_minor = [standing.split.amount_minor for standing in standings]
    excess = shares_minor(amount_minor - covered_minor, parts_minor)
    return [share + over for share, over in zip(covered, excess, strict=True)]


def after_capture(
    standings: Sequence[SplitStanding], amount_minor: int
) -> tuple[SplitStanding, ...]:
    """Return the parts as they stand after a further capture."""
    shares = capture_shares_minor(standings, amount_minor)
    return tuple(old.captured(share) for old, share in zip(standings, shares, strict=True))


def after_refund(
    standings: Sequence[SplitStanding], amount_minor: int
) -> tuple[SplitStanding, ...]:
    """Return the parts as they stand after a further refund."""
    shares = refund_shares_minor(standings, amount_minor)
    return tuple(
        old._replace(refunded_minor=old.refunded_minor + share)
        for old, share in zip(standings, shares, strict=True)
    )


def after_dispute(
    standings: Sequence[SplitStanding], shares_taken_minor: Sequence[int]
) -> tuple[SplitStanding, ...]:
    """Return the parts as they stand once a dispute has taken these shares."""
    return tuple(
        old._replace(disputed_minor=old.disputed_minor + share)
        for old, share in zip(standings, shares_taken_minor, strict=True)
    )


def after_won(
    standings: Sequence[SplitStanding], shares_taken_minor: Sequence[int]
) -> tuple[SplitStanding, ...]:
    """Return the parts as they stand once a won dispute has given these shares back."""
    return after_dispute(standings, [-share for share in shares_taken_minor])
