"""One object of an answer: its members, read as their types say. Those that this version does not know are kept.

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
