"""Takes the steps of a call by a script, on a clock that only pauses move."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from tallystick.exchange import (
    ForgetKey,
    KeepKey,
    NoAnswer,
    Pause,
    Request,
    Response,
    Result,
    Send,
)
from tallystick.keys import MemoryKeyStore
from tallystick.operations import Operation
from tallystick.retrying import RetryPolicy, Surroundings

T = TypeVar("T")

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
LOST = NoAnswer("reset", was_sent=True)
NOT_SENT = NoAnswer("refused", was_sent=False)


def said(status: int, document: object = None, **headers: str) -> Response:
    """An answer; underscores in header names stand for hyphens."""
    kind = "application/problem+json" if status >= 400 else "application/json"
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(
        status=status,
        headers={"content-type": kind, "request-id": "req_abc", **given},
        body=json.dumps({} if document is None else document).encode(),
    )


def refused(
    code: str, status: int, *, retryable: bool = False, may_run: bool | None = None, **headers: str
) -> Response:
    """A problem."""
    document: dict[str, object] = {"code": code, "status": status, "retryable": retryable}
    if may_run is not None:
        document["details"] = {"may_run": may_run}
    return said(status, document, **headers)


@dataclass(slots=True)
class Taker:
    """Answers each Send with the next result of its script; remembers everything."""

    script: list[Response | NoAnswer]
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    draw: float = 1.0
    keys: MemoryKeyStore = field(default_factory=MemoryKeyStore)
    send_s: float = 0.0
    """How long each attempt takes."""
    now_s: float = 0.0
    sent: list[Request] = field(default_factory=list)
    timeouts_s: list[float] = field(default_factory=list)
    pauses_s: list[float] = field(default_factory=list)
    kept_after: list[int] = field(default_factory=list)
    """How many requests had been sent when a key was kept."""

    def take(self, operation: Operation[T]) -> T:
        """Run the operation to its end."""
        steps = operation.steps(
            Surroundings(
                policy=self.policy,
                monotonic_s=lambda: self.now_s,
                now=lambda: NOW,
                draw=lambda: self.draw,
            )
        )
        result: Result = None
        try:
            while True:
                match steps.send(result):
                    case Send(request, timeout_s):
                        self.sent.append(request)
                        self.timeouts_s.append(timeout_s)
                        self.now_s += self.send_s
                        result = self.script.pop(0)
                    case Pause(seconds):
                        self.pauses_s.append(seconds)
                        self.now_s += seconds
                        result = None
                    case KeepKey(name, key):
                        self.kept_after.append(len(self.sent))
                        result = self.keys.keep(name, key)
                    case ForgetKey(name, key):
                        self.keys.forget(name, key)
                        result = None
        except StopIteration as end:
            value: T = end.value
            return value

    @property
    def sent_keys(self) -> set[UUID]:
        """The keys of all attempts."""
        return {UUID(request.headers["Idempotency-Key"]) for request in self.sent}
