"""The daemon's side of the state file: what it says now."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from ops.local.layout import StackHome
from ops.stack.state import Addresses, Phase, ProcessRecord, Role, StackState, write_state


class StateTeller:
    """Holds the state and writes it whenever it changes."""

    def __init__(self, home: StackHome, *, is_ray_used: bool) -> None:
        self._home = home
        me = ProcessRecord.of("stack", os.getpid(), Role.SUPERVISOR)
        self.state = StackState(
            phase=Phase.STARTING,
            stack_id=home.stack_id(),
            daemon_pid=me.pid,
            daemon_start_ticks=me.start_ticks,
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            is_ray_used=is_ray_used,
        )
        write_state(home, self.state)

    def progress(self, text: str) -> None:
        """One more step done or begun, for whoever waits."""
        self._tell(progress=[*self.state.progress, text])

    def problem(self, name: str, text: str | None) -> None:
        """A service's problem, or that it has none any more."""
        problems = {key: value for key, value in self.state.problems.items() if key != name}
        if text is not None:
            problems[name] = text
        self._tell(problems=problems)

    def phase(
        self, phase: Phase, *, error: str | None = None, is_config_wrong: bool = False
    ) -> None:
        self._tell(
            phase=phase,
            error=error or self.state.error,
            is_config_wrong=is_config_wrong or self.state.is_config_wrong,
        )

    def processes(self, records: Sequence[ProcessRecord]) -> None:
        self._tell(processes=list(records))

    def addresses(self, addresses: Addresses, *, partition_count: int) -> None:
        self._tell(addresses=addresses, partition_count=partition_count)

    def _tell(self, **changes: object) -> None:
        state = msgspec.structs.replace(self.state, **changes)
        if state != self.state:
            self.state = state
            write_state(self._home, state)
