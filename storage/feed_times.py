"""From a time to a place in the feed, by halving: events have no index by time, and need none for this."""

from __future__ import annotations

from datetime import datetime, timedelta

from payments.mode import Mode
from storage.event_feed import EventFeed

# Two flushes that run side by side may end in the other order than they began: by less than a statement
# may take (storage/sessions.py), with a margin.
DISORDER_MAX = timedelta(seconds=15)


async def transaction_bounds(
    feed: EventFeed, merchant_no: int, mode: Mode, since: datetime, until: datetime
) -> tuple[int, int]:
    """Return transactions [first, end) that hold every event of the merchant from ``since`` up to ``until``.

    They may hold a few others: compare times. Raises StorageUnavailable.
    """
    horizon = (await feed.horizon()).db_transaction
    first = await _first_at(feed, merchant_no, mode, since - DISORDER_MAX, horizon)
    end = await _first_at(feed, merchant_no, mode, until + DISORDER_MAX, horizon)
    return first, end


async def _first_at(
    feed: EventFeed, merchant_no: int, mode: Mode, moment: datetime, horizon: int
) -> int:
    """Return the least transaction from which on the next event is not older than the moment."""
    low, high = 0, horizon
    while low < high:
        middle = (low + high) // 2
        found = await feed.first_since(merchant_no, mode, middle)
        if found is None or found[1] >= moment:
            high = middle
        else:
            # Up to the event that was found nothing else is: so the next look is behind it.
            low = found[0] + 1
    return low
