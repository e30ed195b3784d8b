"""Log files that stay small: rotated by copy and truncate, so that servers need not cooperate."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

# One server's log takes at most (kept + 1) x this: 64 MiB. Postgres logs about 1 MiB a day when
# nothing is wrong.
LOG_BYTES_MAX = 16 * 1024 * 1024
LOG_COPIES_KEPT = 3
# Even at 1 MiB/s of errors a log overshoots its bound by less than a factor of two.
LOG_CHECK_S = 10.0

# Enough to see why a server died without opening its log.
TAIL_LINES = 15
_TAIL_BYTES = 16 * 1024


def rotate_if_larger(
    path: Path, *, bytes_max: int = LOG_BYTES_MAX, copies_kept: int = LOG_COPIES_KEPT
) -> bool:
    """Move the contents of an oversized log to `<name>.1`, ageing older copies; True if rotated.

    The writer has the file open with O_APPEND and goes on at the new end. Lines written between
    the copy and the truncation are lost: a diagnostic log may lose them, a record never lives here.
    """
    if not path.exists() or path.stat().st_size <= bytes_max:
        return False
    for age in range(copies_kept, 1, -1):
        younger = path.with_name(f"{path.name}.{age - 1}")
        if younger.exists():
            younger.replace(path.with_name(f"{path.name}.{age}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)
    return True


def rotate_all(directory: Path) -> None:
    """Rotate every oversized `*.log` of the directory."""
    for path in directory.glob("*.log"):
        rotate_if_larger(path)


async def keep_bounded(directory: Path, *, interval_s: float = LOG_CHECK_S) -> None:
    """Rotate the directory's logs when they grow too large, until cancelled."""
    while True:
        await asyncio.to_thread(rotate_all, directory)
        await asyncio.sleep(interval_s)


def log_tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log; empty when there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:])
