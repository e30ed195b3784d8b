"""Whether Ray still works: its head's command may go on waiting when the node behind it has died."""

from __future__ import annotations

from collections.abc import Sequence

from ops.stack.ray_keeper import CONTROL_SERVICE, NODE_PROCESS
from ops.stack.state import ProcessRecord, Role

# Both are there as soon as Ray is ready. Hosts end with the second, and outlive the first.
VITAL_NAMES = (CONTROL_SERVICE, NODE_PROCESS)

# The control service is back within a second. Nodes wait 60 s for it, then end their hosts.
CONTROL_AWAY_S_MAX = 30.0

# Ray itself starts a dead supervisor again, within 5 s; on a busy machine it takes more.
SUPERVISOR_AWAY_S_MAX = 20.0


class RayVitals:
    """The processes that Ray had when it was ready, and since when one of them is missed."""

    def __init__(self) -> None:
        self._missing: tuple[str, ...] = VITAL_NAMES
        self._node: ProcessRecord | None = None
        self._control: ProcessRecord | None = None
        self._control_away_since_s: float | None = None
        self._supervisor_seen_at_s: float | None = None

    def note_head(self, records: Sequence[ProcessRecord]) -> None:
        """Ray is ready, with these processes; its supervisor is still to come."""
        vital = {record.name: record for record in records if record.name in VITAL_NAMES}
        self._missing = tuple(name for name in VITAL_NAMES if name not in vital)
        self._node = vital.get(NODE_PROCESS)
        self._control = vital.get(CONTROL_SERVICE)
        self._control_away_since_s = None
        self._supervisor_seen_at_s = None

    def note_supervisor(self, now_s: float) -> None:
        """The supervisor was started: from now on it must be there."""
        self._supervisor_seen_at_s = now_s

    def is_control_new(self, records: Sequence[ProcessRecord]) -> bool:
        """Was the control service started again? Then it is to be seen whether it answers."""
        found = _control_of(records)
        return found is not None and found != self._control

    def note_control(self, records: Sequence[ProcessRecord]) -> None:
        """The control service among these answers."""
        self._control = _control_of(records)
        self._control_away_since_s = None

    def look(self, records: Sequence[ProcessRecord], now_s: float) -> None:
        """Take note of who lives now. While the control service is away, the supervisor is not missed:
        nobody could start it again.
        """
        if self._supervisor_seen_at_s is not None and (
            self.is_control_away(now_s) or any(record.role is Role.SUPERVISOR for record in records)
        ):
            self._supervisor_seen_at_s = now_s

    def is_control_away(self, now_s: float) -> bool:
        """Is the control service gone, or not ready again yet?"""
        if (
            self._control_away_since_s is None
            and self._control is not None
            and not self._control.is_alive()
        ):
            self._control_away_since_s = now_s
        return self._control_away_since_s is not None

    def trouble(self, now_s: float) -> str | None:
        """What keeps this Ray from working, or None while nothing does, or nothing that mends itself."""
        for name in self._missing:
            return f"{name} was gone as soon as Ray was ready"
        if self._node is not None and not self._node.is_alive():
            return f"{self._node.name} (pid {self._node.pid}) is gone, and all hosts with it"
        if self.is_control_away(now_s):
            away_s = now_s - (self._control_away_since_s or now_s)
            if away_s > CONTROL_AWAY_S_MAX:
                return f"there has been no {CONTROL_SERVICE} for {away_s:.0f} s"
            return None
        if self._supervisor_seen_at_s is None:
            return "the supervisor was not started"
        away_s = now_s - self._supervisor_seen_at_s
        if away_s > SUPERVISOR_AWAY_S_MAX:
            return f"there has been no supervisor for {away_s:.0f} s"
        return None


def _control_of(records: Sequence[ProcessRecord]) -> ProcessRecord | None:
    return next((record for record in records if record.name == CONTROL_SERVICE), None)
