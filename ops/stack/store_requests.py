"""What an operator asks of the stores: a file for the daemon, and a file with its answer.

Not a row of the books, because the books are what may be away.
"""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

import msgspec

from ops.local.durable import PRIVATE_FILE_MODE

POLL_S = 0.1

_REQUEST_PREFIX = "store-request-"
_ANSWER_PREFIX = "store-answer-"


class StoreRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to be done to a store."""

    action: str
    """promote, accept_one_copy"""
    store: str
    actor: str
    for_s: float = 0.0
    is_forced: bool = False


class StoreAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it, for people."""

    is_done: bool
    text: str


def ask_daemon(root: Path, request: StoreRequest, *, timeout_s: float) -> StoreAnswer | None:
    """Hand a request to the running daemon; None when it does not answer in time."""
    run = root / "run"
    name = uuid4().hex
    _write(run / f"{_REQUEST_PREFIX}{name}", msgspec.json.encode(request))
    answer = run / f"{_ANSWER_PREFIX}{name}"
    deadline_s = time.monotonic() + timeout_s
    try:
        while time.monotonic() < deadline_s:
            if answer.exists():
                return msgspec.json.decode(answer.read_bytes(), type=StoreAnswer)
            time.sleep(POLL_S)
        return None
    finally:
        # Whoever has not begun with it shall not begin after we have given up.
        (run / f"{_REQUEST_PREFIX}{name}").unlink(missing_ok=True)
        answer.unlink(missing_ok=True)


def take_requests(run: Path) -> list[tuple[str, StoreRequest]]:
    """The waiting requests with their names; each is handed out once."""
    taken: list[tuple[str, StoreRequest]] = []
    for path in sorted(run.glob(f"{_REQUEST_PREFIX}*")):
        if path.suffix:
            continue  # being written
        try:
            raw = path.read_bytes()
            path.unlink()
        except FileNotFoundError:
            continue  # taken back
        name = path.name.removeprefix(_REQUEST_PREFIX)
        try:
            taken.append((name, msgspec.json.decode(raw, type=StoreRequest)))
        except msgspec.MsgspecError as error:
            answer(run, name, StoreAnswer(is_done=False, text=f"not understood: {error}"))
    return taken


def forget_requests(run: Path) -> None:
    """Drop what an earlier daemon has left: whoever asked it has long given up."""
    for prefix in (_REQUEST_PREFIX, _ANSWER_PREFIX):
        for path in run.glob(f"{prefix}*"):
            if not path.suffix:  # else it is just being written
                path.unlink(missing_ok=True)


def answer(run: Path, name: str, text: StoreAnswer) -> None:
    """Tell whoever asked."""
    _write(run / f"{_ANSWER_PREFIX}{name}", msgspec.json.encode(text))


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    part.touch(mode=PRIVATE_FILE_MODE)
    part.write_bytes(content)
    part.replace(path)
