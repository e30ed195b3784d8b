"""What goes to a gateway and what comes back, as values: nothing here does I/O."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

T = TypeVar("T")

# A list of 100 payments with all the metadata that they may have is 3 MB; more is no answer of a gateway.
ANSWER_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, to be sent as it stands. Its repr shows neither headers nor body."""

    method: str
    target: str
    """Path and query."""
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One whole answer; ``headers`` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def document(self) -> Mapping[str, Any] | None:
        """The body as a JSON object; None when it is none."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None


class NoAnswer(NamedTuple):
    """An attempt that ended without a whole answer."""

    reason: str
    """For people: a kind of error and an address, never contents."""
    was_sent: bool
    """Whether any of the request may have reached the gateway."""


class Send(NamedTuple):
    """A step: send the request; what comes back is a Response or a NoAnswer."""

    request: Request
    timeout_s: float


class Pause(NamedTuple):
    """A step: let so much time go by."""

    seconds: float


class KeepKey(NamedTuple):
    """A step: keep the key under the name unless one is kept there; what comes back is the one kept."""

    name: str
    key: UUID


class ForgetKey(NamedTuple):
    """A step: forget the key of a name, if it is this one; what comes back is None."""

    name: str
    key: UUID


Step = Send | Pause | KeepKey | ForgetKey
Result = Response | NoAnswer | UUID | None
Steps = Generator[Step, Result, T]
"""A call as the steps that it takes. Whoever runs it does the I/O, blocking or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseInfo:
    """What an answer's head says about the answer."""

    status: int
    request_id: str | None
    is_replayed: bool
    """The key was used before with the same request: this is that order."""
    is_key_check_deferred: bool
    """Accepted, but the books could not be asked whether the key was used before."""

    @classmethod
    def of(cls, response: Response) -> ResponseInfo:
        headers = response.headers
        return cls(
            status=response.status,
            request_id=headers.get("request-id"),
            is_replayed=headers.get("idempotent-replayed") == "true",
            is_key_check_deferred=headers.get("tallystick-key-check") == "deferred",
        )
