"""Lists of payments: one page by keyset, newest first, whatever the size of the books.

A page's position is (accepted_at, order_no, partition_index) of its edge, never an offset: new
payments don't shift the pages, and the last page costs what the first one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from payments.fingerprint import canonical_json
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.money import AMOUNT_MINOR_MAX
from payments.partitioning import PARTITION_COUNT_MAX
from storage.read_ports import PaymentFilter

# A filter that matches little walks the merchant's whole index. It may take this long, then the
# server ends it: before our own side would drop the session (storage.sessions.ANSWER_TIMEOUT_S).
LIST_STATEMENT_MS_MAX = 3_000

# One snapshot for the keys of a page and for its orders. Planned anew each time: a filter that is
# not set then costs nothing, and a generic plan would take the page for a tenth of the books.
LIST_TRANSACTION = (
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
    f" SET LOCAL statement_timeout = {LIST_STATEMENT_MS_MAX};"
    " SET LOCAL plan_cache_mode = force_custom_plan"
)

# Bounds that nothing is beyond, so that the statement's conditions are always index conditions.
_TIME_MIN = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_MAX = datetime(9999, 1, 1, tzinfo=UTC)

_Row = TypeVar("_Row")


class Position(NamedTuple):
    """Where a payment stands in its merchant's list. Compares as the list is ordered."""

    accepted_at: datetime
    order_no: int
    partition_index: int


ABOVE_ALL = Position(_TIME_MAX, 0, PARTITION_COUNT_MAX)


class PageArguments(NamedTuple):
    """The arguments of the statements page_older and page_newer, in their order."""

    merchant_no: int
    mode: int
    accepted_at: datetime
    order_no: int
    partition_index: int
    created_gte: datetime
    created_lt: datetime
    amount_gte_minor: int
    amount_lte_minor: int
    currency: str | None
    metadata_json: str | None
    status: int | None
    row_count_max: int


def page_arguments(
    merchant_no: int, mode: Mode, wanted: PaymentFilter, edge: Position
) -> PageArguments:
    """Return what the page's statement is asked: one row more than shown tells of further ones."""
    status = None if wanted.status is None else PaymentState.from_wire(wanted.status)
    return PageArguments(
        merchant_no=merchant_no,
        mode=mode,
        accepted_at=edge.accepted_at,
        order_no=edge.order_no,
        partition_index=edge.partition_index,
        created_gte=wanted.created_gte or _TIME_MIN,
        created_lt=wanted.created_lt or _TIME_MAX,
        amount_gte_minor=0 if wanted.amount_gte_minor is None else wanted.amount_gte_minor,
        amount_lte_minor=(
            AMOUNT_MINOR_MAX if wanted.amount_lte_minor is None else wanted.amount_lte_minor
        ),
        currency=wanted.currency,
        metadata_json=canonical_json(wanted.metadata) if wanted.metadata else None,
        status=status,
        row_count_max=wanted.count_max + 1,
    )


def cut_page(
    rows: Sequence[_Row], count_max: int, *, is_backwards: bool
) -> tuple[Sequence[_Row], bool]:
    """Return the page newest first, and whether there were more rows than it holds.

    ``rows`` are nearest to the cursor first: newest first, or oldest first when read backwards.
    """
    page = rows[:count_max]
    return (page[::-1] if is_backwards else page), len(rows) > count_max
