"""Whether Ray still works: its head's command goes on waiting when the node behind it has died."""

from __future__ import annotations

from collections.abc import Sequence

from ops.stack.state import ProcessRecord, Role

# Without these no host runs and none is started. When one dies, `ray start --block` may stay.
VITAL_NAMES = ("gcs_server", "raylet")

# Ray itself starts a dead supervisor again, within 5 s; on a busy machine it takes more.
SUPERVISOR_AWAY_S_MAX = 20.0


class RayVitals:
    """The processes that Ray had when it was ready, and when its supervisor was last seen."""

    def __init__(self) -> None:
        self._vital: Sequence[ProcessRecord] = ()
        self._supervisor_seen_at_s: float | None = None

    def note_head(self, records: Sequence[ProcessRecord]) -> None:
        """Ray is ready, with these processes; its supervisor is still to come."""
        self._vital = [record for record in records if record.name in VITAL_NAMES]
        self._supervisor_seen_at_s = None

    def note_supervisor(self, now_s: float) -> None:
        """The supervisor was started: from now on it must be there."""
        self._supervisor_seen_at_s = now_s

    def look(self, records: Sequence[ProcessRecord], now_s: float) -> None:
        """Take note of who lives now."""
        if self._supervisor_seen_at_s is not None and any(
            record.role is Role.SUPERVISOR for record in records
        ):
            self._supervisor_seen_at_s = now_s

    def trouble(self, now_s: float) -> str | None:
        """What keeps this Ray from working, or None while nothing does."""
        for name in VITAL_NAMES:
            if not any(record.name == name for record in self._vital):
                return f"{name} was gone as soon as Ray was ready"
        for record in self._vital:
            if not record.is_alive():
                return f"{record.name} (pid {record.pid}) is gone, and all hosts with it"
        if self._supervisor_seen_at_s is None:
            return "the supervisor was not started"
        away_s = now_s - self._supervisor_seen_at_s
        if away_s > SUPERVISOR_AWAY_S_MAX:
            return f"there has been no supervisor for {away_s:.0f} s"
        return None
