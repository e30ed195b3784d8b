"""How much room a stack takes, and how much is left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path


def directory_bytes(path: Path) -> int:
    """What the files below take on disk; files that vanish meanwhile are left out."""
    total_bytes = 0
    pending = [str(path)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        # Blocks, not length: both stores keep files with holes.
                        total_bytes += entry.stat(follow_symlinks=False).st_blocks * 512
        except (FileNotFoundError, PermissionError, NotADirectoryError):
            continue
    return total_bytes


def disk_use(root: Path) -> Mapping[str, object]:
    """Bytes by store, of the logs, and free on the disk."""
    data = root / "data"
    names = sorted(item.name for item in data.iterdir() if item.is_dir()) if data.is_dir() else []
    existing = root if root.exists() else root.parent
    while not existing.exists():
        existing = existing.parent
    return {
        "data_bytes": {name: directory_bytes(data / name) for name in names},
        "logs_bytes": directory_bytes(root / "logs") + directory_bytes(root / "run"),
        "free_bytes": shutil.disk_usage(existing).free,
    }
