"""Runs that were made already, so that trying all mutants can be interrupted and taken up again.

A run counts only for the very sources that it was made with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from loadtest.mutants.outcomes import Run, Where

RUNS_FILE = "runs.jsonl"

_ROOT = Path(__file__).parents[2]
_PRODUCT = ("actors", "gateway", "payments", "psp", "runtime", "storage")
# What a run executes beside the product: what loads, breaks and checks it.
_SOURCES: Mapping[Where, tuple[str, ...]] = {
    Where.SIMULATION: (
        *_PRODUCT,
        *("loadtest/checker", "loadtest/mutants", "tests/simulation", "tests/fakes"),
    ),
    Where.SERVERS: (*_PRODUCT, "loadtest", "ops"),
}
_SUFFIXES = frozenset({".py", ".sql", ".lua", ".json"})


class _Line(msgspec.Struct, frozen=True):
    what: Mapping[str, Any]
    run: Run


def sources_digest(where: Where, root: Path = _ROOT) -> str:
    """Return a digest of everything that a run there executes."""
    found = hashlib.sha256()
    for path in _source_files(_SOURCES[where], root):
        found.update(f"{path.relative_to(root)}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _source_files(folders: Sequence[str], root: Path) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(path for path in (root / folder).rglob("*") if path.suffix in _SUFFIXES)


class Memory:
    """Runs by what they tried, of what, by which sources. Without a directory nothing is kept.

    ``is_read``: whether what was kept is used; else all runs are made anew, and kept.
    """

    def __init__(self, directory: Path | None, *, is_read: bool = True) -> None:
        self._path = None if directory is None else directory / RUNS_FILE
        self._runs: dict[bytes, Run] = {}
        if is_read and self._path is not None and self._path.exists():
            for line in self._path.read_bytes().splitlines():
                kept = msgspec.json.decode(line, type=_Line)
                self._runs[_key(kept.what)] = kept.run

    def once(
        self, what: Mapping[str, Any], make: Callable[[], Run], *, is_kept: Callable[[Run], bool]
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
                line = msgspec.json.encode(_Line(what, run))
                with self._path.open("ab") as file:
                    file.write(line + b"\n")
        return run


def _key(what: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(what, order="deterministic")
