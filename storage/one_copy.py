"""Whether an operator accepts, for a time, that the queue acknowledges on one copy alone."""

from __future__ import annotations

import asyncio

from runtime.faults import StorageUnavailable
from storage.read_pool import ReadPool
from storage.sql_files import load_statements

READ_EVERY_S = 0.5
# What was read is believed for so long, whatever was promised: an end is noticed in time, and while
# the books can't be asked, all copies are waited for again.
BELIEVED_S = 2.0

_SQL = load_statements("one_copy.sql")


class OneCopyWatch:
    """Looks at the operator's word (a row of the books), and forgets it soon. For one event loop."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool
        self._accepted_until_s = 0.0

    @property
    def is_accepted(self) -> bool:
        """May orders be acknowledged now that are on the primary alone?"""
        return self._accepted_until_s > 0.0 and _now_s() < self._accepted_until_s

    async def run(self) -> None:
        """Keep looking, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(READ_EVERY_S)

    async def look(self) -> None:
        """Look once; while the books can't be asked, what was read before grows old."""
        asked_at_s = _now_s()
        try:
            row = await self._pool.fetchrow(_SQL["one_copy_left"])
        except StorageUnavailable:
            return
        left_s = 0.0 if row is None else float(row["left_s"])
        self._accepted_until_s = 0.0 if left_s <= 0 else asked_at_s + min(left_s, BELIEVED_S)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
