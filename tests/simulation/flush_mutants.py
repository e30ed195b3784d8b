"""Mutants of the flush's SQL, for the simulated books: what a changed statement writes, told in rows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from loadtest.mutants import apply
from loadtest.mutants.in_the_books import keep_accounts, post_absolute
from loadtest.mutants.patching import replace_attribute
from storage.ports import Flush
from tests.fakes.fake_books import FakeBooks
from tests.simulation.loop import CELL, Cell
from tests.simulation.sim_ledger import SimLane
from tests.simulation.sim_postgres import PgSession


def keep_pledges() -> None:
    """As in the original: a lane writes for its partitions also on a connection that no claim knows."""
    opened = vars(SimLane)["_open"]

    async def open_pledged(lane: SimLane) -> PgSession:
        session: PgSession = await opened(lane)
        pledged = vars(lane)["_pledged"]
        pledged.update(dict.fromkeys(pledged, session))
        return session

    replace_attribute(SimLane, "_open", open_pledged)


def _fence_skipped() -> None:
    replace_attribute(FakeBooks, "fenced_out", lambda _books, _flush: frozenset())
    keep_pledges()


def _settled_again_after_unknown() -> None:
    # The lane around the flush is the original's; its statement is not here.
    apply("settled_again_after_unknown")
    keep_pledges()
    check, write = FakeBooks.check, FakeBooks.write

    def fenced_out(books: FakeBooks, flush: Flush) -> frozenset[int]:
        return frozenset(
            row.partition_index
            for row in flush.heads
            if books.partitions[row.partition_index].head.epoch != row.epoch
        )

    def check_new(books: FakeBooks, flush: Flush) -> None:
        check(books, replace(_without_known(books, flush), slices=[], progress=[]))

    def write_new(books: FakeBooks, flush: Flush, *, at: datetime | None = None) -> datetime:
        new = _without_known(books, flush)
        opened = books.open_orders.keys() | {row[:2] for row in new.orders}
        progress = [row for row in new.progress if row[:2] in opened]
        return write(books, replace(new, progress=progress), at=at)

    replace_attribute(FakeBooks, "fenced_out", fenced_out)
    replace_attribute(FakeBooks, "check", check_new)
    replace_attribute(FakeBooks, "write", write_new)


def _without_known(books: FakeBooks, flush: Flush) -> Flush:
    """Return what ON CONFLICT DO NOTHING leaves of a flush: new rows, and all that is added to slices."""
    return replace(
        flush,
        orders=[
            row
            for row in flush.orders
            if row[:2] not in books.orders and row.order_uuid not in books.order_keys
        ],
        personal=[row for row in flush.personal if row[:3] not in books.personal],
        attempts=[row for row in flush.attempts if row[:3] not in books.attempts],
        events=[row for row in flush.events if row[:3] not in books.events],
        outcomes=[
            row
            for row in flush.outcomes
            if row[:2] not in books.outcomes and row[:2] in books.open_orders
        ],
        transfers=[row for row in flush.transfers if row[:3] not in books.transfers],
        accounts=[row for row in flush.accounts if row[:2] not in books.slices],
    )


def _balance_written_from_memory() -> None:
    kept: WeakKeyDictionary[Cell, dict[int, OrderedDict[Any, Any]]] = WeakKeyDictionary()
    post_absolute()
    # A process's memory ends with it, and is nobody else's.
    keep_accounts(lambda: kept.setdefault(CELL.get(), {}))
    check, write_money = FakeBooks.check, vars(FakeBooks)["_write_money"]

    def check_but_versions(books: FakeBooks, flush: Flush) -> None:
        check(books, replace(flush, slices=[]))

    def write_absolute(books: FakeBooks, flush: Flush, at: datetime) -> None:
        write_money(books, replace(flush, slices=[]), at)
        for row in flush.slices:
            books.slices[row[:2]] = books.slices[row[:2]]._replace(
                version=row.version_before + row.transfer_count,
                debits_posted_minor=row.debits_posted_minor,
                credits_posted_minor=row.credits_posted_minor,
            )

    replace_attribute(FakeBooks, "check", check_but_versions)
    replace_attribute(FakeBooks, "_write_money", write_absolute)


FLUSH_COUNTERPARTS: Mapping[str, Callable[[], None]] = {
    "fence_skipped": _fence_skipped,
    "settled_again_after_unknown": _settled_again_after_unknown,
    "balance_written_from_memory": _balance_written_from_memory,
}
