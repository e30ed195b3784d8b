"""Wishes of an operator in memory."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes.fake_books import FakeBooks


class FakeUnparking:
    """Implements ``storage.unparking.Unparking``."""

    def __init__(self, books: FakeBooks) -> None:
        self._books = books
        self.wishes: set[tuple[int, int]] = set()

    async def wanted(self, partition_indexes: Sequence[int]) -> Sequence[tuple[int, int]]:
        """See ``storage.unparking.Unparking``."""
        parked = {key for key in self._books.parked if key[0] in partition_indexes}
        return sorted(self.wishes & parked)

    async def unpark(self, partition_index: int, epoch: int, order_no: int) -> None:
        """See ``storage.unparking.Unparking``."""
        if self._books.partitions[partition_index].head.epoch == epoch:
            self._books.parked.pop((partition_index, order_no), None)
            self.wishes.discard((partition_index, order_no))
