"""Requests that are held for the outcome (``Prefer: wait``): accepted first, then waited for."""

from __future__ import annotations

from collections.abc import Awaitable

from gateway.accepting import Accepting, lookup_key
from gateway.idempotency import Verdict, says_the_same
from gateway.open_requests import Decided
from gateway.waiting import Waiters, is_wait_over
from runtime.clock import Clock
from storage.queue_ports import QueueEntry
from storage.read_ports import Stored

HEADER_PREFERENCE_APPLIED = "Preference-Applied"


class Holding:
    """Accepts orders and operations, and holds what they are told until they settle."""

    def __init__(self, accepting: Accepting, waiters: Waiters, clock: Clock) -> None:
        self._accepting = accepting
        self._waiters = waiters
        self._clock = clock

    def held_s(self, wait_s: int) -> int:
        """How long a request is held that wants to be held so long; 0 when no more have room."""
        return wait_s if self._waiters.has_room else 0

    def accept(self, entry: QueueEntry, wait_s: int) -> Awaitable[Decided]:
        """Return the verdict; with ``wait_s`` the one of when it settles, at most so many seconds from now."""
        return self._accepting.accept(entry) if wait_s == 0 else self._held(entry, wait_s)

    async def _held(self, entry: QueueEntry, wait_s: int) -> Decided:
        until_s = self._clock.monotonic_s() + wait_s
        found: Stored | None = None
        # Registered before the append: the outcome may be there before the append has answered.
        with self._waiters.waiter(lookup_key(entry)) as waiter:
            decided = await self._accepting.accept(entry)
            is_waiting_worth_it = decided.verdict is Verdict.ACCEPTED or (
                decided.verdict is Verdict.RUNNING
                and decided.order is not None
                and not is_wait_over(decided.order)
            )
            if is_waiting_worth_it:
                found = await waiter.wait(max(0.0, until_s - self._clock.monotonic_s()))
        if found is None:
            return decided
        verdict = Verdict.REUSED
        if says_the_same(entry.fingerprint, found):
            verdict = Verdict.FROZEN if found.is_frozen else Verdict.RUNNING
        return decided._replace(verdict=verdict, order=found)
