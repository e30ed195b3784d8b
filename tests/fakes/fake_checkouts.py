"""Checkouts in memory, as gateways read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from payments.checkouts import Checkout
from payments.mode import Mode
from runtime.faults import StorageUnavailable
from storage.checkouts import CheckoutKey, CheckoutPage
from storage.read_ports import CursorUnknown


def _position(checkout: Checkout) -> tuple[datetime, UUID]:
    return checkout.accepted_at, checkout.checkout_uuid


class FakeCheckouts:
    """``storage.checkouts.CheckoutQueries`` over a dictionary."""

    def __init__(self) -> None:
        self.is_available = True
        self._checkouts: dict[CheckoutKey, Checkout] = {}

    def put(self, partition_index: int, checkout: Checkout) -> None:
        """Keep a checkout as its owner does: the first of its name stands."""
        self._checkouts.setdefault((partition_index, checkout.checkout_uuid), checkout)

    async def checkouts(self, keys: Sequence[CheckoutKey]) -> Mapping[UUID, Checkout]:
        self._check()
        return {key[1]: self._checkouts[key] for key in keys if key in self._checkouts}

    async def list_checkouts(
        self, merchant_no: int, mode: Mode, wanted: CheckoutPage
    ) -> tuple[Sequence[Checkout], bool]:
        self._check()
        mine = {
            key: each
            for key, each in self._checkouts.items()
            if (each.merchant_no, each.mode) == (merchant_no, mode)
        }
        cursor = wanted.starting_after or wanted.ending_before
        if cursor is not None and cursor not in mine:
            raise CursorUnknown
        edge = None if cursor is None else _position(mine[cursor])
        is_backwards = wanted.ending_before is not None
        found = [
            each
            for each in sorted(mine.values(), key=_position, reverse=not is_backwards)
            if edge is None or (_position(each) > edge if is_backwards else _position(each) < edge)
        ]
        page = found[: wanted.count_max]
        return page[::-1] if is_backwards else page, len(found) > wanted.count_max

    def _check(self) -> None:
        if not self.is_available:
            raise StorageUnavailable("postgres", "the fake is switched off")
