"""What was seen of one store server, and what follows: lost, frozen, cut off."""

from __future__ import annotations

from collections.abc import Callable

from ops.local.copies import Node
from ops.stack.deaths import Deaths

# A server of ours reacts within milliseconds, within a second on a disk that is slow to sync.
FROZEN_S = 5.0
PING_EVERY_S = 1.0
# A second copy that answers but does not follow is started again, then copied anew.
CUT_OFF_S = 20.0
# A directory that is exchanged by a rename is away for a moment.
LOST_LOOKS = 2


class WatchedServer:
    """One server. Times are of the caller's monotonic clock."""

    def __init__(self) -> None:
        self.deaths = Deaths()
        self.failed_start_count = 0
        self.is_reconnected = False
        """Whether it was started again because it did not follow, and has not followed since."""
        self._lost_look_count = 0
        self._reacted_at_s: float | None = None
        self._pinged_at_s = 0.0
        self._followed_at_s: float | None = None

    @property
    def is_data_there(self) -> bool:
        """At the last look."""
        return self._lost_look_count == 0

    @property
    def is_data_lost(self) -> bool:
        """Gone at so many looks in turn that it is not just being exchanged."""
        return self._lost_look_count >= LOST_LOOKS

    def look_at_data(self, has_data: Callable[[], bool]) -> None:
        """What can't be read is as good as gone."""
        try:
            is_there = has_data()
        except OSError:
            is_there = False
        self._lost_look_count = 0 if is_there else self._lost_look_count + 1

    def started(self) -> None:
        """It was started on its data, and takes work."""
        self.failed_start_count = 0
        self._reacted_at_s = self._followed_at_s = None

    async def is_frozen(self, node: Node, now_s: float) -> bool:
        """Ask it now and then whether it reacts at all."""
        if self._reacted_at_s is None:
            self._reacted_at_s = now_s
        if now_s - self._pinged_at_s >= PING_EVERY_S:
            self._pinged_at_s = now_s
            if await node.answers_at_all():
                self._reacted_at_s = now_s
        return now_s - self._reacted_at_s >= FROZEN_S

    def is_cut_off(self, now_s: float, *, is_following: bool) -> bool:
        """Has it not followed the primary for too long?"""
        if is_following or self._followed_at_s is None:
            self._followed_at_s = now_s
        return now_s - self._followed_at_s >= CUT_OFF_S

    def give_time(self, now_s: float) -> None:
        """Count from now: something was done about its not following."""
        self._followed_at_s = now_s
