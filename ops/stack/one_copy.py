"""Accepting one copy of a store for a time: by an operator's word, written down, and ended by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import msgspec

from ops.local.copies import OneCopy, StoreCopies, StoreEvent
from ops.local.faults import LocalFault
from ops.local.resp import RespError
from runtime.clock import Clock
from runtime.logs import get_logger

_log = get_logger(__name__)

# After the end, sessions and gateways that were told earlier may acknowledge on one copy for so
# long: a gateway believes what it read for 2 s (storage.one_copy), a session looks with its next
# statement, and none takes longer than 5 s.
GRACE_S = 8.0

_FAULTS = (LocalFault, RespError, OSError, TimeoutError)

Apply = Callable[[float], Awaitable[None]]
"""Have acknowledgements rest on one copy for so many seconds; 0 ends it."""


class OneCopyTerm:
    """The time for which one copy of a store is accepted, if it is."""

    def __init__(self, copies: StoreCopies, apply: Apply, *, clock: Clock) -> None:
        self._copies = copies
        self._apply = apply
        self._clock = clock
        self._ends_at_s: float | None = None
        self._over_at_s: float | None = None

    async def accept(self, for_s: float, actor: str) -> OneCopy:
        """Accept one copy from now on. Raises what ``apply`` raises; then it ends at once.

        The other copy is taken off the record first: from now on it may lack something.
        """
        until = self._clock.now() + timedelta(seconds=for_s)
        accepted = OneCopy(until=until.isoformat(timespec="seconds"), actor=actor)
        self._copies.file.change(in_sync=[], one_copy=accepted)
        self._over_at_s = None
        self._ends_at_s = self._clock.monotonic_s()  # until it is known to have begun
        await self._apply(for_s)
        self._ends_at_s = self._clock.monotonic_s() + for_s
        self._note("one_copy_accepted", f"{actor}, for {for_s:.0f} s")
        return accepted

    async def look(self) -> None:
        """End it when its time has come."""
        accepted = self._copies.file.read().one_copy
        if accepted is None:
            return
        now_s = self._clock.monotonic_s()
        if self._ends_at_s is None:  # another daemon began it: only the calendar is left
            left = datetime.fromisoformat(accepted.until) - self._clock.now()
            self._ends_at_s = now_s + max(0.0, left.total_seconds())
        if now_s < self._ends_at_s:
            return
        if self._over_at_s is None:
            try:
                await self._apply(0.0)
            except _FAULTS as fault:
                _log.warning("one_copy_not_ended", store=self._copies.name, reason=str(fault))
                return
            ending = msgspec.structs.replace(accepted, is_ending=True)
            self._copies.file.change(one_copy=ending)
            self._over_at_s = now_s + GRACE_S
        elif now_s >= self._over_at_s:
            self._copies.file.change(one_copy=None)
            self._ends_at_s = self._over_at_s = None
            self._note("one_copy_ended", "")

    def _note(self, what: str, reason: str) -> None:
        self._copies.file.note(
            StoreEvent(
                at=self._clock.now().isoformat(timespec="milliseconds"),
                what=what,
                node=self._copies.primary().name,
                reason=reason,
            )
        )
        _log.warning("store_changed", store=self._copies.name, what=what, reason=reason)
