"""When a request is sent again, and when not. Pure: a generator of steps that somebody else takes.

One rule stands above all: every attempt of a call has the same idempotency key and the same bytes. A call
that can't say whether it had its effect says so (``may_have_run``), and never tries another key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

from tallystick.errors import (
    AnswerUnreadable,
    ApiError,
    CallFailed,
    NotReached,
    ended_of,
    family_of,
)
from tallystick.exchange import NoAnswer, Pause, Request, Response, Send, Steps
from tallystick.problems import BY_CODE

# What a gateway may be asked to hold an answer for.
WAIT_S_MAX = 30

# Worth another try where no problem document says otherwise: a proxy's words, or too many requests.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})

_log = logging.getLogger("tallystick")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long and how often a call tries. Raises ValueError for what makes no sense."""

    deadline_s: float = 60.0
    """A call has ended by then, whatever happens: with an answer or an error."""
    attempts_max: int = 8
    attempt_s_max: float = 10.0
    """How long one attempt waits for its answer; ``wait_s`` comes on top. A gateway takes 5 s at most."""
    pause_first_s: float = 0.25
    """The n-th pause is drawn from 0 to ``pause_first_s * 2**(n - 1)``: full jitter."""
    pause_s_max: float = 8.0

    def __post_init__(self) -> None:
        for name in ("deadline_s", "attempts_max", "attempt_s_max", "pause_first_s", "pause_s_max"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above zero")

    def pause_s(self, attempt_count: int, draw: Callable[[], float]) -> float:
        """How long to wait after so many attempts. ``draw`` gives 0 to 1."""
        # Beyond 2**16 the cap has long been reached.
        ceiling_s = self.pause_first_s * 2.0 ** min(attempt_count - 1, 16)
        return draw() * min(self.pause_s_max, ceiling_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a call needs of the world beside its steps."""

    policy: RetryPolicy
    monotonic_s: Callable[[], float]
    now: Callable[[], datetime]
    draw: Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One call. ``is_safe``: a read, or under a key, so that it may be repeated at any time."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None
    key: UUID | None
    kept_as: str | None = None
    wait_s: int = 0

    @property
    def is_safe(self) -> bool:
        return self.method == "GET" or self.key is not None

    @property
    def place(self) -> str:
        """For people and logs: no query, which may hold what a buyer wrote."""
        return f"{self.method} {self.target.partition('?')[0]}"

    def request(self, left_s: float) -> Request:
        headers = dict(self.headers)
        # The answer must be here before the deadline.
        wait_s = min(self.wait_s, WAIT_S_MAX, int(left_s - 1.0))
        if wait_s > 0:
            headers["Prefer"] = f"wait={wait_s}"
        return Request(method=self.method, target=self.target, headers=headers, body=self.body)


@dataclass(slots=True)
class _Progress:
    attempt_count: int = 0
    may_have_run: bool = False


def exchanged(wanted: Wanted, surroundings: Surroundings) -> Steps[Response]:
    """Send until there is an answer that stands; return it. Raises CallFailed."""
    policy, progress = surroundings.policy, _Progress()
    until_s = surroundings.monotonic_s() + policy.deadline_s
    while True:
        left_s = until_s - surroundings.monotonic_s()
        result = yield Send(
            wanted.request(left_s), max(0.001, min(left_s, policy.attempt_s_max + wanted.wait_s))
        )
        progress.attempt_count += 1
        assert isinstance(result, Response | NoAnswer)
        if isinstance(result, Response) and result.status < 300:
            return result
        _note_effect(result, progress)
        failure = _failure(wanted, result, progress)
        after_s = _retry_after_s(result, surroundings.now())
        pause_s = after_s + policy.pause_s(progress.attempt_count, surroundings.draw)
        left_s = until_s - surroundings.monotonic_s()
        if (
            not _is_worth_it(wanted, result)
            or progress.attempt_count >= policy.attempts_max
            or pause_s >= left_s
        ):
            raise failure
        _log.info(
            "%s: attempt %d failed, the next one in %.2f s: %s",
            *(wanted.place, progress.attempt_count, pause_s, failure),
        )
        yield Pause(pause_s)


def _note_effect(result: Response | NoAnswer, progress: _Progress) -> None:
    """Remember whether this attempt may have had its effect. Once it may have, it stays so."""
    if _may_run(result):
        progress.may_have_run = True
    elif isinstance(result, Response) and ended_of(_problem(result) or {}) is not None:
        # The outcome of this very key is known now.
        progress.may_have_run = False


def _may_run(result: Response | NoAnswer) -> bool:
    if isinstance(result, NoAnswer):
        return result.was_sent
    if result.status < 500:
        return False
    said = _details(result).get("may_run")
    return said if isinstance(said, bool) else True


def _is_worth_it(wanted: Wanted, result: Response | NoAnswer) -> bool:
    """Whether the same request may fare better, and may be sent once more."""
    if not wanted.is_safe and _may_run(result):
        return False
    if isinstance(result, NoAnswer):
        return True
    problem = _problem(result)
    if problem is not None and isinstance(problem.get("retryable"), bool):
        return bool(problem["retryable"])
    return result.status in _PASSING


def _retry_after_s(result: Response | NoAnswer, now: datetime) -> float:
    """What Retry-After says, in seconds or as a date; else 0."""
    text = "" if isinstance(result, NoAnswer) else result.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        # More digits say no more than "never" does.
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())


def _failure(wanted: Wanted, result: Response | NoAnswer, progress: _Progress) -> CallFailed:
    """The error that this result is, if no further attempt is made."""
    about: dict[str, Any] = {
        "idempotency_key": wanted.key,
        "kept_as": wanted.kept_as,
        "may_have_run": progress.may_have_run and wanted.method != "GET",
        "attempt_count": progress.attempt_count,
    }
    if isinstance(result, NoAnswer):
        return NotReached(f"{wanted.place}: {result.reason}", **about)
    about["request_id"] = result.headers.get("request-id")
    problem = _problem(result)
    if problem is None:
        what = f"{wanted.place}: {result.status} without a problem document"
        return AnswerUnreadable(what, status=result.status, **about)
    kind: type[ApiError] = BY_CODE.get(str(problem.get("code"))) or family_of(result.status)
    return kind(problem, status=result.status, **about)


def _problem(result: Response) -> Mapping[str, Any] | None:
    if result.status < 400 or "problem+json" not in result.headers.get("content-type", ""):
        return None
    return result.document()


def _details(result: Response) -> Mapping[str, Any]:
    details = (_problem(result) or {}).get("details")
    return details if isinstance(details, dict) else {}
