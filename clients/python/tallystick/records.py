"""What a gateway answers, as typed objects. Members that this version does not know are kept.

A member is an attribute when its class declares it, and can be had by name in any case:
``payment["a_new_member"]``. Times are aware ``datetime``s, amounts integers of minor units.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from tallystick.exchange import ResponseInfo

R = TypeVar("R", bound="Record")


class Record:
    """One JSON object of an answer, not to be changed. Equal to another one that says the same."""

    __slots__ = ("_raw", "response")

    response: ResponseInfo | None
    """About the answer that it came with; None for what was inside of another object."""

    def __init__(self, raw: Mapping[str, Any], response: ResponseInfo | None = None) -> None:
        self._raw = types.MappingProxyType(dict(raw))
        self.response = response

    @property
    def raw(self) -> Mapping[str, Any]:
        """The object as it came."""
        return self._raw

    def __getitem__(self, name: str) -> Any:
        return self._raw[name]

    def __contains__(self, name: object) -> bool:
        return name in self._raw

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._raw == self._raw

    def __hash__(self) -> int:
        return hash((type(self), self._raw.get("id")))

    def __repr__(self) -> str:
        """Its kind, id and state alone: the rest may be personal."""
        shown = [f"{name}={self._raw[name]!r}" for name in ("id", "status") if name in self._raw]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self._raw), self.response)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            reader = None if name.startswith("_") else _readers(type(self)).get(name)
            if reader is None:
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
            if name not in self._raw:
                raise AttributeError(f"the gateway's answer has no {name!r}")
            return reader(self._raw[name])


def _as_it_is(value: Any) -> Any:
    return value


def _moment(value: Any) -> Any:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


@cache
def _readers(record: type[Record]) -> Mapping[str, Callable[[Any], Any]]:
    """How each declared member is read, as its type says."""
    hints = typing.get_type_hints(record)
    return {
        name: _reader(hint) for name, hint in hints.items() if name not in Record.__annotations__
    }


def _reader(hint: Any) -> Callable[[Any], Any]:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if datetime in kinds:
        return _moment
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Record):
            return _one(kind)
        if typing.get_origin(kind) is tuple and issubclass(typing.get_args(kind)[0], Record):
            return _several(typing.get_args(kind)[0])
    return _as_it_is


def _one(kind: type[Record]) -> Callable[[Any], Any]:
    return lambda value: kind(value) if isinstance(value, dict) else value


def _several(kind: type[Record]) -> Callable[[Any], Any]:
    return lambda value: tuple(map(_one(kind), value)) if isinstance(value, list) else value


class Failure(Record):
    """Why a payment failed."""

    __slots__ = ()
    code: str
    decline_code: str | None
    message: str | None


class NextAction(Record):
    """What the buyer has to do: go to ``url``."""

    __slots__ = ()
    type: str
    url: str
    expires_at: datetime | None


UNDER_WAY = frozenset({"created", "processing"})
"""States of a payment that end without anybody's doing."""


class Payment(Record):
    """A payment order. Amounts are None only of one that can't be read yet by its owner."""

    __slots__ = ()
    id: str
    object: str
    status: str
    outcome: str
    amount: int | None
    amount_captured: int
    amount_refunded: int
    currency: str | None
    seller: str | None
    fee: int | None
    psp: str | None
    psp_reference: str | None
    attempts: int
    failure: Failure | None
    next_action: NextAction | None
    next_retry_at: datetime | None
    metadata: Mapping[str, str]
    capture: str
    created_at: datetime
    effective_at: datetime | None
    ledger_updated_at: datetime | None
    wallet_updated_at: datetime | None

    @property
    def is_under_way(self) -> bool:
        """Whether it goes on by itself: nobody has to act, and it has not ended."""
        return self.status in UNDER_WAY


class Refund(Record):
    """A payment back, whole or in part."""

    __slots__ = ()
    id: str
    object: str
    payment: str
    status: str
    amount: int
    currency: str
    reason: str | None
    failure: Failure | None
    created_at: datetime


class Transfer(Record):
    """One movement of money, both halves in one row."""

    __slots__ = ()
    id: str
    object: str
    kind: str
    debit_account: str
    credit_account: str
    amount: int
    currency: str
    created_at: datetime
    batch: str


class Seller(Record):
    """Whose wallet can be credited."""

    __slots__ = ()
    id: str
    object: str
    name: str
    fee: Mapping[str, Any] | None
    created_at: datetime


class Balance(Record):
    """A wallet's money in one currency."""

    __slots__ = ()
    currency: str
    posted: int
    pending: int
    available: int


class Wallet(Record):
    """A seller's money."""

    __slots__ = ()
    object: str
    owner: str
    balances: tuple[Balance, ...]
    as_of: datetime


class CheckoutOrder(Record):
    """One order of a checkout: what one seller gets."""

    __slots__ = ()
    id: str
    status: str
    seller: str | None
    amount: int
    currency: str


class Checkout(Record):
    """What a buyer pays at once, to one seller or several."""

    __slots__ = ()
    id: str
    object: str
    status: str
    is_payment_done: bool
    orders: tuple[CheckoutOrder, ...]
    redirect_url: str | None
    expires_at: datetime | None
    created_at: datetime


class Event(Record):
    """Something that happened. ``sequence`` has no gaps for one object."""

    __slots__ = ()
    id: str
    type: str
    created_at: datetime
    object: str
    object_id: str
    sequence: int
    data: Mapping[str, Any]
    api_version: str


class WebhookEndpoint(Record):
    """Where events are sent to. ``secret`` comes once, in the answer that created it."""

    __slots__ = ()
    id: str
    object: str
    url: str
    types: list[str]
    secret: str
    created_at: datetime


class Delivery(Record):
    """One event on its way to one endpoint."""

    __slots__ = ()
    id: str
    object: str
    event: str
    status: str
    created_at: datetime


class LoggedRequest(Record):
    """What was asked and answered, with what is secret or personal left out."""

    __slots__ = ()
    id: str
    object: str
    method: str
    route: str
    status: int
    code: str | None
    idempotency_key: str | None
    duration_ms: float
    received_at: datetime
    request: Any
    answer: Any
