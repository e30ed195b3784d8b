"""Small files that must survive a power cut: written whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE_FILE_MODE = 0o600


def write_durably(path: Path, text: str, *, mode: int = PRIVATE_FILE_MODE) -> None:
    """Replace `path` by `text`; after a power cut the file is the old one or the new one, whole."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)  # a left-over part file keeps its old mode otherwise
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    rename_durably(part, path)


def rename_durably(source: Path, target: Path) -> None:
    """Rename and make the directory entry survive a power cut."""
    source.rename(target)
    sync_directory(target.parent)


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
