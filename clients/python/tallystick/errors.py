"""Errors: one base, one class a family, and in ``tallystick.problems`` one class a code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from tallystick.record import Record
from tallystick.records import ENDED_KINDS, Payment


class TallystickError(Exception):
    """Whatever this library raises on purpose, but for wrong arguments (ValueError, TypeError)."""


class CallFailed(TallystickError):
    """A call to the gateway came to no good end."""

    def __init__(
        self,
        message: str,
        *,
        request_id: str | None = None,
        idempotency_key: UUID | None = None,
        kept_as: str | None = None,
        may_have_run: bool = False,
        attempt_count: int = 1,
    ) -> None:
        super().__init__(message)
        self.request_id = request_id
        """Of the last answer; tell it to whoever runs the gateway."""
        self.idempotency_key = idempotency_key
        """The key of every attempt of this call. Go on with it, never with another one."""
        self.kept_as = kept_as
        """Where the key store has the key; None for a key that has no name."""
        self.may_have_run = may_have_run
        """An attempt of this call may have had its effect: only the same key is safe."""
        self.attempt_count = attempt_count


class NotReached(CallFailed):
    """No attempt got a whole answer in time."""


class AnswerUnreadable(CallFailed):
    """What came back is no answer of a gateway: a proxy's page, a redirect, or broken JSON."""

    def __init__(self, message: str, *, status: int, **more: Any) -> None:
        super().__init__(message, **more)
        self.status = status


class StillRunning(TallystickError):
    """A payment did not get to where it was waited for. Wait again, or look at it later."""

    def __init__(self, payment: Payment) -> None:
        super().__init__(f"payment {payment.id} is still {payment.status}")
        self.payment = payment


class KeyStoreFailed(TallystickError):
    """A key could not be kept, so nothing was sent."""


class ApiError(CallFailed):
    """A problem that the gateway answered (RFC 9457)."""

    code: ClassVar[str] = ""
    """The code that this class stands for; empty for a family."""

    def __init__(self, problem: Mapping[str, Any], *, status: int, **more: Any) -> None:
        detail = problem.get("detail") or problem.get("title") or "no detail"
        word = str(problem.get("code") or status)
        request_id = more.get("request_id")
        super().__init__(f"{word}: {detail}" + (f" ({request_id})" if request_id else ""), **more)
        self.problem = problem
        """The whole document, members that this version does not know included."""
        self.status = status
        self.detail = str(detail)
        self.word = word
        """The code as it came, also where no class stands for it."""
        self.title: str | None = problem.get("title")
        self.param: str | None = problem.get("param")
        """Where it lies: a JSON path, ``header:…`` or ``query:…``."""
        self.is_retryable = problem.get("retryable") is True
        details = problem.get("details")
        self.details: Mapping[str, Any] = details if isinstance(details, dict) else {}

    @property
    def ended(self) -> Record | None:
        """What the key names, if it failed for good: a payment, a refund, a capture or a void."""
        return ended_of(self.problem)


class BadRequest(ApiError):
    """The request can't be read: 400 and its kin."""


class AuthenticationFailed(ApiError):
    """No valid API key: 401."""


class PaymentFailed(ApiError):
    """It failed for good: 402. Nothing is charged under its key; a new try needs a new key."""

    @property
    def payment(self) -> Payment | None:
        """The payment, as it failed; None where it is a refund, a capture or a void (``ended``)."""
        ended = self.ended
        return ended if isinstance(ended, Payment) else None

    @property
    def decline_code(self) -> str | None:
        """The provider's reason, where it gave one."""
        found: str | None = self.problem.get("decline_code")
        return found


class PermissionDenied(ApiError):
    """The key may not do that: 403."""


class ResourceMissing(ApiError):
    """There is no such thing: 404."""


class StateConflict(ApiError):
    """It can't be done in the state that things are in: 409."""


class Refused(ApiError):
    """Understood, and refused: 422."""


class TooManyRequests(ApiError):
    """Slow down: 429."""


class ServerFailed(ApiError):
    """The gateway could not do it now: 5xx."""


FAMILIES: Mapping[int, type[ApiError]] = {
    401: AuthenticationFailed,
    402: PaymentFailed,
    403: PermissionDenied,
    404: ResourceMissing,
    409: StateConflict,
    422: Refused,
    429: TooManyRequests,
}


def ended_of(problem: Mapping[str, Any]) -> Record | None:
    """What a problem says of its key's own end, if it does."""
    for name, kind in ENDED_KINDS.items():
        found = problem.get(name)
        if isinstance(found, dict) and found.get("status") == "failed":
            return kind(found)
    return None


def family_of(status: int) -> type[ApiError]:
    """The family of an HTTP status from 400 on."""
    return FAMILIES.get(status, ServerFailed if status >= 500 else BadRequest)
