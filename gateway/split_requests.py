"""``splits`` of a payment order: whose parts one charge has, checked before a store is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from gateway.openapi.declarations import rule
from gateway.problems import Code, Problem
from payments.answer import splits_text
from payments.money import AMOUNT_MINOR_MAX
from payments.splits import SPLITS_MAX, SPLITS_MIN, Split, splits_refusal
from storage.read_ports import SellerRecord


class SplitBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, gc=False):
    """One seller's part as it came."""

    seller: Annotated[str, rule("Whose wallet the part is credited to; your own id for your own.")]
    amount: Annotated[int, rule("In minor units.", minimum=1, maximum=AMOUNT_MINOR_MAX)]
    fee: (
        Annotated[
            int,
            rule(
                "Our fee on it, at most the part; the seller's own schedule when left out.",
                minimum=0,
                maximum=AMOUNT_MINOR_MAX,
            ),
        ]
        | None
    ) = None

    def members(self) -> dict[str, object]:
        """Return the members that were given."""
        given = {"seller": self.seller, "amount": self.amount, "fee": self.fee}
        return {name: value for name, value in given.items() if value is not None}


Splits = Annotated[
    list[SplitBody],
    rule(
        "Whose parts the charge has, instead of a seller.", minItems=SPLITS_MIN, maxItems=SPLITS_MAX
    ),
]


def split_members(splits: Sequence[SplitBody]) -> list[dict[str, object]]:
    """Return the members that were given of each, in their order."""
    return [split.members() for split in splits]


def splits_problem(
    splits: Sequence[SplitBody] | None, amount_minor: int, seller_id: str | None
) -> Problem | None:
    """Return the first reason to refuse splits of a payment of ``amount_minor``, or None.

    ``seller_id`` is the payment's own, as it was given.
    """
    if splits is None:
        return None
    if seller_id is not None:
        return _invalid("A payment has a seller or splits, not both.", "$.seller")
    # Sellers have no numbers yet: any will do that are the same exactly where the ids are.
    numbers = {split.seller: number for number, split in enumerate(splits)}
    parts = [Split(numbers[split.seller], split.amount, split.fee or 0) for split in splits]
    refusal = splits_refusal(parts, amount_minor)
    return None if refusal is None else _invalid(f"It {refusal.reason}.", refusal.path)


def splits_with(
    splits: Sequence[SplitBody], sellers: Sequence[SellerRecord], currency: str
) -> tuple[Split, ...]:
    """Return the splits with their sellers' numbers and fees, as they cross the queue."""
    return tuple(
        Split(
            seller.seller_no,
            split.amount,
            seller.fee.fee_minor(split.amount, currency) if split.fee is None else split.fee,
        )
        for split, seller in zip(splits, sellers, strict=True)
    )


def splits_shown(splits: Sequence[SplitBody] | None, taken: Sequence[Split] | None) -> str | None:
    """Return splits as an answer shows them, from how they came and how they were ``taken``."""
    if splits is None or taken is None:
        return None
    return splits_text(taken, [split.seller for split in splits])


def _invalid(detail: str, param: str) -> Problem:
    return Problem(code=Code.SPLITS_INVALID, detail=detail, param=param)
