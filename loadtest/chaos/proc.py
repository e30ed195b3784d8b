"""Processes of this machine, by their pids."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def send(pid: int, signum: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return


def descendants(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.append(child)
            waiting.append(child)
    return found


def is_stopped(pid: int) -> bool:
    """Whether a signal holds the process."""
    fields = _stat(pid)
    return fields is not None and fields[0] == "T"


def has_ended(pid: int) -> bool:
    """Whether nothing runs under the pid any more, whether somebody took notice of its end or not."""
    fields = _stat(pid)
    return fields is None or fields[0] in "ZX"


def is_running(pid: int) -> bool:
    """Whether the process lives and may run: neither ended nor held."""
    fields = _stat(pid)
    return fields is not None and fields[0] not in "TZX"


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the state on; None when it ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command, in parentheses, may hold spaces and parentheses: count from its end.
    return text.rpartition(")")[2].split()
