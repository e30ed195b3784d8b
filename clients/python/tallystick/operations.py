"""How an operation becomes steps: its key, its body, its answer. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID, uuid4

from tallystick.errors import AnswerUnreadable, ApiError, CallFailed
from tallystick.exchange import ForgetKey, KeepKey, Response, ResponseInfo, Steps
from tallystick.keys import NAME_CHARACTERS_MAX
from tallystick.record import Record
from tallystick.retrying import WAIT_S_MAX, Surroundings, Wanted, exchanged

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R", bound=Record)

Json = Mapping[str, Any]


class Operation(Protocol[T_co]):
    """Something a client does, as steps that somebody else takes."""

    def steps(self, surroundings: Surroundings) -> Steps[T_co]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChoice:
    """Which idempotency key a call has: the one given, the one kept under a name, or a new one."""

    given: UUID | None = None
    name: str | None = None

    @classmethod
    def of(cls, given: UUID | str | None, name: str | None) -> KeyChoice:
        """Raises ValueError for a text that is no UUID, a bad name, and for both at once."""
        if given is not None and name is not None:
            raise ValueError("give idempotency_key or key_name, not both")
        if name is not None and not 1 <= len(name) <= NAME_CHARACTERS_MAX:
            raise ValueError(f"key_name needs 1 to {NAME_CHARACTERS_MAX} characters")
        try:
            return cls(given=UUID(given) if isinstance(given, str) else given, name=name)
        except ValueError:
            raise ValueError("idempotency_key must be a UUID") from None

    def steps(self, path: str) -> Steps[UUID]:
        """Return the key, kept where it has a name: before anything is sent."""
        if self.given is not None:
            return self.given
        drawn = uuid4()
        kept_as = self.kept_as(path)
        if kept_as is None:
            return drawn
        kept = yield KeepKey(kept_as, drawn)
        assert isinstance(kept, UUID)
        return kept

    def kept_as(self, path: str) -> str | None:
        """The name in the key store, of its path: a refund of a payment's name has a key of its own."""
        return None if self.name is None else f"{path}#{self.name}"


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Have the key store forget the key of a call that failed for good."""

    error: CallFailed

    def steps(self, _surroundings: Surroundings) -> Steps[None]:
        error = self.error
        # Any other error says nothing of the key's own outcome: an earlier process may have been paid.
        if not isinstance(error, ApiError) or error.ended is None:
            raise ValueError("what the key names has not failed for good: go on with the same key")
        if error.kept_as is not None and error.idempotency_key is not None:
            yield ForgetKey(error.kept_as, error.idempotency_key)


def segment(text: str) -> str:
    """A part of a path, whatever characters an id is given with. Raises ValueError for none."""
    if not text:
        raise ValueError("an id must not be empty")
    return quote(text, safe="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request and how its answer is read."""

    method: str
    path: str
    read: Callable[[Json, ResponseInfo], T]
    query: Json = field(default_factory=dict)
    body: Callable[[UUID | None], Json] | None = None
    """From the call's key to the body's members; those that are None are left out."""
    key: KeyChoice | None = None
    """None for what takes no key."""
    wait_s: int = 0

    def steps(self, surroundings: Surroundings) -> Steps[T]:
        if not 0 <= self.wait_s <= WAIT_S_MAX:
            raise ValueError(f"wait_s must be 0 to {WAIT_S_MAX}")
        key = None if self.key is None else (yield from self.key.steps(self.path))
        headers = {"Accept": "application/json"}
        body = None
        if self.body is not None:
            # Encoded once: every attempt sends the same bytes.
            body = json.dumps(_given(self.body(key))).encode()
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = str(key)
        wanted = Wanted(
            method=self.method,
            target=self._target(),
            headers=headers,
            body=body,
            key=key,
            kept_as=None if self.key is None else self.key.kept_as(self.path),
            wait_s=self.wait_s,
        )
        response = yield from exchanged(wanted, surroundings)
        return self._read(response, wanted)

    def _target(self) -> str:
        query = urlencode(
            {name: _text(value) for name, value in self.query.items() if value is not None}
        )
        return f"{self.path}?{query}" if query else self.path

    def _read(self, response: Response, wanted: Wanted) -> T:
        document = {} if response.status == 204 else response.document()
        if document is None:
            raise AnswerUnreadable(
                f"{wanted.place}: {response.status} without a JSON object",
                status=response.status,
                request_id=response.headers.get("request-id"),
                idempotency_key=wanted.key,
                may_have_run=wanted.method != "GET",
            )
        return self.read(document, ResponseInfo.of(response))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[R]):
    """One page of a list."""

    data: tuple[R, ...]
    has_more: bool
    raw: Json = field(repr=False)

    @property
    def next_cursor(self) -> str | None:
        """Of a feed: where it goes on, also when there is no more yet. Keep it."""
        cursor: str | None = self.raw.get("next_cursor")
        return cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[R]):
    """A list of many pages: the call of the first, and what leads on."""

    first: Call[Page[R]]
    is_feed: bool = False
    """A feed tells its cursor; other lists go on behind the id of their last."""

    def after(self, page: Page[R]) -> Call[Page[R]] | None:
        """The call of the page that follows, if there is one."""
        if not page.has_more or not page.data:
            return None
        cursor = (
            {"after": page.next_cursor} if self.is_feed else {"starting_after": page.data[-1]["id"]}
        )
        return replace(self.first, query={**self.first.query, **cursor})


def page_of(kind: type[R]) -> Callable[[Json, ResponseInfo], Page[R]]:
    """Return the reader of a list of records."""

    def read(document: Json, response: ResponseInfo) -> Page[R]:
        data = tuple(kind(item, response) for item in document.get("data", ()))
        return Page(data=data, has_more=document.get("has_more") is True, raw=document)

    return read


def fixed(members: Json) -> Callable[[UUID | None], Json]:
    """Return a body that does not depend on the key."""
    return lambda _key: members


def _given(members: Json) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _text(value: Any) -> str:
    """As it stands in a query. Raises ValueError for a time of no known offset."""
    if not isinstance(value, datetime):
        return str(value)
    if value.tzinfo is None:
        raise ValueError("a time needs its offset from UTC")
    return value.isoformat()
