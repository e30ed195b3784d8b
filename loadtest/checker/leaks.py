"""Searching logs and dumps for what must never be in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

# Read piece by piece, because a log has no bound that we know of.
_PIECE_BYTES = 1 << 22
# Shorter ones could stand anywhere by chance.
SECRET_CHARACTERS_MIN = 12
# These name something, and are no secrets.
_PUBLIC = frozenset({"sandbox_merchant_id"})


class Leak(NamedTuple):
    """Something that was found. Never the secret itself."""

    place: str
    what: str


class Search(NamedTuple):
    """What a search has looked at, and found."""

    bytes_scanned: int
    leaks: list[Leak]


def search_home(home: Path, canaries: Sequence[str], personal: Sequence[str] = ()) -> Search:
    """Search a stack's logs for canaries and for its own secrets, and its queue's files for canaries.

    ``personal`` data is carried by the queue, and must not be in a log. Files that vanish meanwhile, as
    rotated logs do, are not searched.
    """
    wanted = {f"canary {number}": canary.encode() for number, canary in enumerate(canaries)}
    logged = {f"personal {number}": text.encode() for number, text in enumerate(personal)}
    found: list[Leak] = []
    scanned = 0
    for folder, needles in (
        (home / "logs", wanted | logged | dict(_secrets(home))),
        (home / "data", wanted),
    ):
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or (folder.name == "data" and "valkey" not in str(path)):
                continue
            size_bytes, whats = _search_file(path, needles)
            scanned += size_bytes
            found += [Leak(str(path.relative_to(home)), what) for what in whats]
    return Search(scanned, found)


def _secrets(home: Path) -> Iterator[tuple[str, bytes]]:
    folder = home / "secrets"
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_file() and path.name not in _PUBLIC:
            text = path.read_bytes().strip()
            if len(text) >= SECRET_CHARACTERS_MIN:
                yield f"secret {path.name}", text


def _search_file(path: Path, needles: Mapping[str, bytes]) -> tuple[int, list[str]]:
    overlap = max((len(needle) for needle in needles.values()), default=1) - 1
    scanned, found, rest = 0, set[str](), b""
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                scanned += len(piece)
                text = rest + piece
                found |= {what for what, needle in needles.items() if needle in text}
                rest = text[-overlap:] if overlap else b""
    except OSError:
        return scanned, sorted(found)
    return scanned, sorted(found)
