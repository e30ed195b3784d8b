"""Where a flush's time goes: a stopwatch that its lane presses between its parts."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.clock import Clock

BEGIN = "begin"
WRITE = "write"
COMMIT = "commit"


class FlushLaps:
    """One lane has one flush at a time, and one of these for all of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lap_began_s = 0.0
        self._laps_s: dict[str, float] = {}

    def start(self) -> None:
        """Begin with the first part of a flush."""
        self._laps_s = {}
        self._lap_began_s = self._clock.monotonic_s()

    def lap(self, part: str) -> None:
        """This part has ended, and the next one begins."""
        now_s = self._clock.monotonic_s()
        self._laps_s[part] = now_s - self._lap_began_s
        self._lap_began_s = now_s

    def take(self) -> Mapping[str, float]:
        """Return the seconds of each part of the flush that has just ended."""
        return self._laps_s
