"""Runs that were made already, so that trying all mutants can be interrupted and taken up again.

A run counts only for the very sources that it was made with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from loadtest.mutants.outcomes import Run

RUNS_FILE = "runs.jsonl"

_ROOT = Path(__file__).parents[2]
# What a run executes: the product, what loads and checks it, and the simulation with its fakes.
_SOURCES = (
    *("actors", "gateway", "loadtest", "ops", "payments", "psp", "runtime", "storage"),
    *("tests/simulation", "tests/fakes"),
)
_SUFFIXES = frozenset({".py", ".sql", ".lua", ".json"})


class _Line(msgspec.Struct, frozen=True):
    sources: str
    what: dict[str, Any]
    run: Run


def sources_digest(root: Path = _ROOT) -> str:
    """Return a digest of everything that a run executes."""
    found = hashlib.sha256()
    for path in _source_files(root):
        found.update(f"{path.relative_to(root)}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _source_files(root: Path) -> Iterator[Path]:
    for folder in _SOURCES:
        yield from sorted(path for path in (root / folder).rglob("*") if path.suffix in _SUFFIXES)


class Memory:
    """Runs by what they tried. Without a directory nothing is kept; unread, all are made anew."""

    def __init__(self, directory: Path | None, sources: str, *, is_read: bool = True) -> None:
        self._path = None if directory is None else directory / RUNS_FILE
        self._sources = sources
        self._runs: dict[bytes, Run] = {}
        if is_read and self._path is not None and self._path.exists():
            for line in self._path.read_bytes().splitlines():
                kept = msgspec.json.decode(line, type=_Line)
                if kept.sources == sources:
                    self._runs[_key(kept.what)] = kept.run

    def once(
        self, what: dict[str, Any], make: Callable[[], Run], *, is_kept: Callable[[Run], bool]
    ) -> Run:
        """Return the run of ``what``: the kept one, else a new one, which is kept if it is worth it."""
        kept = self._runs.get(_key(what))
        if kept is not None:
            return kept
        run = make()
        if is_kept(run):
            self._runs[_key(what)] = run
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                line = msgspec.json.encode(_Line(self._sources, what, run))
                with self._path.open("ab") as file:
                    file.write(line + b"\n")
        return run


def _key(what: dict[str, Any]) -> bytes:
    return msgspec.json.encode(what, order="deterministic")
