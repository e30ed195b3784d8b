"""How often something died lately, and what follows: how long to wait, when to call it broken."""

from __future__ import annotations

from collections import deque

# Five deaths within a minute are no accident: the stack says so, with the end of the log.
DEATHS_MAX = 5
WINDOW_S = 60.0

# A single death is mended at once; a crash loop costs a start every 10 s.
BACKOFF_S_FIRST = 0.2
BACKOFF_S_MAX = 10.0


class Deaths:
    """The deaths of one service. Times are of the caller's monotonic clock."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=DEATHS_MAX)

    def note(self, now_s: float) -> None:
        self._times_s.append(now_s)

    def take_back(self) -> None:
        """The last one was not its own doing."""
        self._times_s.pop()

    def count(self, now_s: float) -> int:
        """How many of the last WINDOW_S seconds; counts no further than DEATHS_MAX."""
        return sum(now_s - time_s < WINDOW_S for time_s in self._times_s)

    def is_loop(self, now_s: float) -> bool:
        return self.count(now_s) >= DEATHS_MAX

    def backoff_s(self, now_s: float) -> float:
        """How long to wait before the next start."""
        if self.is_loop(now_s):
            return BACKOFF_S_MAX
        return min(BACKOFF_S_MAX, BACKOFF_S_FIRST * 2.0 ** max(0, self.count(now_s) - 1))
