"""Where tests keep their servers' data: in memory, where the machine has enough of it.

Servers sync their files there as they do on a disk, and it is counted the same. What they survive here are
processes' ends, which no file forgets. But hundreds of databases are made for tests, each of hundreds of files, and
two thirds of the time of that was the disk's.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

MEMORY_DISK = Path("/dev/shm")
VARIABLE = "TMPDIR"
# Two workers with three pairs of servers each, of some hundred megabytes, and what stacks write besides.
FREE_BYTES_MIN = 8 * 1024**3

_MEMORY_FACTS = Path("/proc/meminfo")


def use_memory_disk(environment: MutableMapping[str, str]) -> None:
    """Have temporary files made there, unless the environment names a place or there is not enough room."""
    if VARIABLE in environment or not _has_room():
        return
    environment[VARIABLE] = str(MEMORY_DISK)
    tempfile.tempdir = None  # it may have been looked up before


def _has_room() -> bool:
    """Whether there is a disk in memory that programs may be run from, and memory for it."""
    try:
        facts = os.statvfs(MEMORY_DISK)
        available = _available_bytes(_MEMORY_FACTS.read_text(encoding="ascii"))
    except OSError:
        return False
    is_usable = os.access(MEMORY_DISK, os.W_OK) and not facts.f_flag & os.ST_NOEXEC
    return is_usable and min(facts.f_bavail * facts.f_frsize, available) >= FREE_BYTES_MIN


def _available_bytes(facts: str) -> int:
    for line in facts.splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return 0
