"""Whether a server's disk is full, or soon will be."""

from __future__ import annotations

import shutil
from pathlib import Path

from ops.local.logs import log_tail
from ops.size_text import size_text

# An operator should hear of it while there is still time to make space.
ALARM_RATIO = 0.8
# A segment of Postgres' log, and the most that Valkey writes before it looks again.
ROOM_BYTES = 16 * 1024**2
# A small disk is not full while it has this part of it left.
ROOM_RATIO = 0.01

_NO_SPACE = "No space left on device"


def is_disk_full(directory: Path, log_path: Path | None = None) -> bool:
    """Is there no room to start on, or did the server itself say so at its end?"""
    usage = shutil.disk_usage(_existing(directory))
    if usage.free < min(ROOM_BYTES, usage.total * ROOM_RATIO):
        return True
    return log_path is not None and _NO_SPACE in log_tail(log_path)


def space_alarm(directory: Path) -> str | None:
    """What to tell about a disk that fills up, or None."""
    usage = shutil.disk_usage(_existing(directory))
    used_ratio = 1 - usage.free / usage.total
    if used_ratio < ALARM_RATIO:
        return None
    return f"its disk is {used_ratio:.0%} full, {size_text(usage.free)} are left"


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
