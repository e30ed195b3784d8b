"""What processes cost: CPU time and memory by role, each with its children."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

_PROC = Path("/proc")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

# A sample of a whole stack reads fifty files and takes some 40 ms of the core that is measured: once a
# second would cost the stack a fiftieth of two cores, and the baselines next to nothing.
PSS_EVERY_S = 4.0


def with_children(roles: Mapping[int, str]) -> dict[int, str]:
    """Roles by pid, spread to every descendant that has no role of its own."""
    children: dict[int, list[int]] = defaultdict(list)
    for name in os.listdir(_PROC):
        if name.isdigit() and (fields := _stat(int(name))) is not None:
            children[int(fields[1])].append(int(name))
    found: dict[int, str] = {}
    waiting = list(roles.items())
    while waiting:
        pid, role = waiting.pop()
        found[pid] = role
        waiting += [(child, role) for child in children[pid] if child not in roles]
    return found


def cpu_by_role(roles: Mapping[int, str]) -> dict[str, float]:
    """CPU seconds so far, user and system, of each role: the living, and the children they reaped."""
    seconds: dict[str, float] = defaultdict(float)
    for pid, role in with_children(roles).items():
        if (fields := _stat(pid)) is not None:
            seconds[role] += sum(map(int, fields[11:15])) / _TICKS_A_SECOND
    return dict(seconds)


def pss_by_role(roles: Mapping[int, str]) -> dict[str, int]:
    """Proportional set size in bytes of each role: shared pages are split among who shares them."""
    sizes: dict[str, int] = defaultdict(int)
    for pid, role in with_children(roles).items():
        sizes[role] += pss_of(pid)
    return dict(sizes)


def pss_of(pid: int) -> int:
    """Proportional set size of one process in bytes; 0 when it has ended."""
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1_024
    return 0


class Meter:
    """Watches roles from ``start`` to ``stop``. Processes may be added while it runs."""

    def __init__(self, roles: Mapping[int, str]) -> None:
        self._roles = dict(roles)
        self._cpu_before: dict[str, float] = {}
        self._pss_peak: dict[str, int] = {}
        self._sampling: asyncio.Task[None] | None = None

    def add(self, pid: int, role: str) -> None:
        """Watch one more process, such as a generator that was just started."""
        self._roles[pid] = role
        # It may end before the next look.
        self._note({role: pss_of(pid)})

    def start(self) -> None:
        self._cpu_before = cpu_by_role(self._roles)
        self._pss_peak = {}
        self._sampling = asyncio.create_task(self._sample())

    async def stop(self) -> tuple[dict[str, float], dict[str, int]]:
        """Return CPU seconds used since the start, and the peak of PSS in bytes, both by role.

        A role that ended meanwhile has no CPU time here: it must tell of itself.
        """
        cpu = {
            role: max(0.0, seconds - self._cpu_before.get(role, 0.0))
            for role, seconds in cpu_by_role(self._roles).items()
        }
        if self._sampling is not None:
            self._sampling.cancel()
            await asyncio.gather(self._sampling, return_exceptions=True)
        self._note(pss_by_role(self._roles))
        return cpu, dict(self._pss_peak)

    async def _sample(self) -> None:
        while True:
            self._note(pss_by_role(self._roles))
            await asyncio.sleep(PSS_EVERY_S)

    def _note(self, sizes: Mapping[str, int]) -> None:
        for role, size in sizes.items():
            if size == 0:
                continue  # it has ended
            self._pss_peak[role] = max(size, self._pss_peak.get(role, 0))


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the third on; None when it ended."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command, in parentheses, may hold spaces and parentheses: count from its end.
    return text.rpartition(")")[2].split()
