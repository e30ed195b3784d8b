"""What the request log tells of a request, and whose it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from payments.mode import Mode

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

FIRST_OF_ALL = UUID(int=0)
LAST_OF_ALL = UUID(int=2**128 - 1)


def request_time(request_no: UUID) -> datetime:
    """When a request came, as its number tells: a UUIDv7 begins with milliseconds."""
    return _EPOCH + timedelta(milliseconds=request_no.int >> 80)


class LoggedRequest(NamedTuple):
    """One request and its answer."""

    request_no: UUID
    """The Request-Id's number; it rises with time."""
    merchant_no: int
    mode: Mode
    method: str
    route: str
    """The template of its path."""
    status: int
    code: str | None
    """Of a problem."""
    idempotency_key: UUID | None
    duration_us: int
    bodies: bytes
    """A JSON object, redacted."""

    @property
    def received_at(self) -> datetime:
        """When it came. Asked of those that are read: many more are written."""
        return request_time(self.request_no)


class Whose(NamedTuple):
    """Which merchant's requests, in which mode."""

    merchant_no: int
    mode: Mode


class RequestHead(NamedTuple):
    """A request as operators see it: with its merchant's name, and empty bodies."""

    merchant_id: str
    request: LoggedRequest
