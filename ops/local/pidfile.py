"""Pid files that can't be mistaken: a pid alone may by now belong to somebody else's process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import msgspec

from ops.local.durable import write_durably

_PROC = Path("/proc")
_BOOT_ID_PATH = _PROC / "sys/kernel/random/boot_id"

# How often to look whether a process ended: soon enough to be invisible, rare enough to be free.
POLL_S = 0.05
# What a SIGKILL needs at most: the kernel finishes the process's current system call, an fsync.
KILL_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """One process, told from every other that ever had or will have its pid."""

    pid: int
    start_ticks: int  # clock ticks from boot to its start: /proc/<pid>/stat, field 22
    boot_id: str


@cache
def boot_id() -> str:
    """Which start of the machine this is: the same for as long as we live."""
    return _BOOT_ID_PATH.read_text(encoding="ascii").strip()


def identity_of(pid: int) -> ProcessIdentity | None:
    """The identity of the process that has this pid now; None when it ended (or is a zombie)."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command, in parentheses, may hold spaces and parentheses: count from its end.
    fields = stat.rpartition(")")[2].split()
    state, start_ticks = fields[0], int(fields[19])
    if state in ("Z", "X"):
        return None
    return ProcessIdentity(pid=pid, start_ticks=start_ticks, boot_id=boot_id())


def write_pid_file(path: Path, pid: int) -> None:
    """Record the process in JSON; one that has already ended leaves no file."""
    identity = identity_of(pid)
    if identity is not None:
        write_durably(path, json.dumps(asdict(identity)) + "\n")


def read_live(path: Path) -> ProcessIdentity | None:
    """The recorded process if that very process still runs; else None, and the stale file goes."""
    try:
        # Its types are checked: a pid that is no number would be looked up as a path in /proc.
        record = msgspec.json.decode(path.read_bytes(), type=ProcessIdentity)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        record = None  # not ours, or cut short by hand: it names nobody
    if record is not None and identity_of(record.pid) == record:
        return record
    path.unlink(missing_ok=True)
    return None


def is_alive(path: Path) -> bool:
    """Does the very process recorded in this pid file still run?"""
    return read_live(path) is not None


async def stop_process(
    identity: ProcessIdentity, *, stop_signal: signal.Signals, timeout_s: float
) -> None:
    """Ask the process to stop, and kill it when it hasn't after `timeout_s`.

    Nothing happens when the pid has passed to another process. Raises TimeoutError if even
    SIGKILL did not end it (a process stuck in the kernel).
    """
    if identity_of(identity.pid) != identity:
        return
    signal_if_there(identity.pid, stop_signal)
    if await _ended(identity, timeout_s):
        return
    signal_if_there(identity.pid, signal.SIGKILL)
    if not await _ended(identity, KILL_TIMEOUT_S):
        raise TimeoutError(f"pid {identity.pid} survived SIGKILL for {KILL_TIMEOUT_S} s")


async def _ended(identity: ProcessIdentity, timeout_s: float) -> bool:
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    while identity_of(identity.pid) == identity:
        if loop.time() >= deadline_s:
            return False
        await asyncio.sleep(POLL_S)
    return True


def signal_if_there(pid: int, number: signal.Signals) -> None:
    """Send a signal; that the process has just ended is fine."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
