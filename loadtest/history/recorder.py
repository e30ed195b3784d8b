"""Writing the history down: a line for each begin and each end of an operation."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import msgspec

from loadtest.checker.records import AskedOrder, EventType, OpKind

HISTORY_NAME = "history.jsonl"

# What a crash of the load itself may lose; the load is never what is made to fail.
_BUFFER_BYTES = 1 << 16


class Line(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A line of history.jsonl. An end says nothing that its invocation said already."""

    op: int = 0
    type: EventType = EventType.INVOKE
    at_ns: int = 0
    kind: OpKind | None = None
    merchant: str = ""
    mode: str = ""
    key: str = ""
    fingerprint: str = ""
    amount: int = 0
    currency: str = ""
    seller: str = ""
    token: str = ""
    metadata: str = "{}"
    payment: str = ""
    """Of an operation: its payment's key."""
    orders: tuple[AskedOrder, ...] = ()
    """Of a checkout."""
    wait_s: int = 0
    """For so long the answer was asked to be held."""
    status: int = 0
    body_sha256: str = ""
    body: str | None = None
    """Left out where the same bytes stand in an earlier line."""
    replayed: bool = False
    deferred: bool = False
    error: str = ""


class Recorder:
    """Numbers operations and writes their lines, in the order in which they happen."""

    def __init__(self, path: Path, *, op_count: int = 0) -> None:
        """``op_count`` is how many operations the file holds already."""
        self._file = path.open("ab", buffering=_BUFFER_BYTES)
        self._encoder = msgspec.json.Encoder()
        self.op_count = op_count
        self._bodies: set[str] = set()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def invoke(self, line: Line) -> int:
        """Write that an operation begins, before its first byte leaves; return its number."""
        self.op_count += 1
        line.op, line.at_ns = self.op_count, time.monotonic_ns()
        self._write(line)
        return line.op

    def answered(
        self, op: int, ended: EventType, status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Write that an answer has arrived whole."""
        at_ns = time.monotonic_ns()
        sha256 = hashlib.sha256(body).hexdigest()
        text = None if sha256 in self._bodies else body.decode("utf-8", "replace")
        self._bodies.add(sha256)
        self._write(
            Line(
                op=op,
                type=ended,
                at_ns=at_ns,
                status=status,
                body_sha256=sha256,
                body=text,
                replayed=headers.get("Idempotent-Replayed") == "true",
                deferred=headers.get("Tallystick-Key-Check") == "deferred",
            )
        )

    def unanswered(self, op: int, error: str) -> None:
        """Write that no answer came: what became of it is not known."""
        self._write(Line(op=op, type=EventType.INFO, at_ns=time.monotonic_ns(), error=error))

    def close(self) -> None:
        self._file.close()

    def _write(self, line: Line) -> None:
        self._file.write(self._encoder.encode(line) + b"\n")
