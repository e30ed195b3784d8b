"""Values and rows in Postgres's binary form, as ``record_recv`` and ``array_recv`` read them.

A row on the wire: its length, how many members it has, and of each member its type's OID, its length and
its value. A member whose value has a fixed length is packed with the *header* of its type before it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial

header = struct.Struct(">Ii").pack
"""What stands before a value: the OID of its type, and its length in bytes or -1 for NULL."""

_TEXT_OID, _BYTEA_OID, _NUMERIC_OID = 25, 17, 1700
# What stands before each value of a fixed length: OIDs of Postgres's own types never change.
BOOL, SMALL, INT, BIG = header(16, 1), header(21, 2), header(23, 4), header(20, 8)
TIME, UUID = header(1184, 8), header(2950, 16)
NULL_SMALL, _NULL_TIME, _NULL_TEXT = header(21, -1), header(1184, -1), header(_TEXT_OID, -1)

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

_NUMERIC_BASE = 10_000
_NUMERIC_NEGATIVE = 0x4000
_NUMERIC_ZERO = header(_NUMERIC_OID, 8) + bytes(8)

# Texts that are few, and each in many rows: currencies, PSPs, codes, versions.
WORDS_MAX = 1_024

# What a value raises that its member can't hold.
UNFIT = (struct.error, AttributeError, TypeError, ValueError, OverflowError)

_LENGTH_SIZE = 4


def _members(codes: str) -> str:
    """The format of members of fixed lengths, each behind its header; ``u`` stands for a UUID's bytes."""
    return "".join("8s" + ("16s" if code == "u" else code) for code in codes)


class RowStart:
    """How a row of ``count`` members begins; the others, if any, follow as ``rest``."""

    def __init__(self, count: int, codes: str) -> None:
        packed = struct.Struct(">ii" + _members(codes))
        self._pack = packed.pack
        self._count = count
        self._own_length = packed.size - _LENGTH_SIZE

    def pack(self, rest: bytes, *first: object) -> bytes:
        return self._pack(self._own_length + len(rest), self._count, *first) + rest


def whole_row(count: int, codes: str) -> Callable[..., bytes]:
    """The packing of rows that have members of fixed lengths alone."""
    packed = struct.Struct(">ii" + _members(codes))
    return partial(packed.pack, packed.size - _LENGTH_SIZE, count)


def run(codes: str) -> Callable[..., bytes]:
    """The packing of members of fixed lengths that stand within a row, or at its end."""
    return struct.Struct(">" + _members(codes)).pack


def text(value: str | None) -> bytes:
    if value is None:
        return _NULL_TEXT
    encoded = value.encode()
    return header(_TEXT_OID, len(encoded)) + encoded


word = lru_cache(maxsize=WORDS_MAX)(text)


def bytea(value: bytes) -> bytes:
    return header(_BYTEA_OID, len(value)) + value


def micros(value: datetime) -> int:
    """A time as Postgres keeps it: microseconds since the year 2000."""
    since = value - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_time_member = run("q")


def time(value: datetime | None) -> bytes:
    return _NULL_TIME if value is None else _time_member(TIME, micros(value))


_one_digit, _two_digits = struct.Struct(">IihhHhh").pack, struct.Struct(">IihhHhhh").pack


def numeric(value: int) -> bytes:
    """A whole number of any size: its digits to the base 10,000, the highest first."""
    if value == 0:
        return _NUMERIC_ZERO
    # Shorter ways for what nearly all are: below a million of a currency with two decimals.
    if 0 < value < _NUMERIC_BASE:
        return _one_digit(_NUMERIC_OID, 10, 1, 0, 0, 0, value)
    if 0 < value < _NUMERIC_BASE**2:
        return _two_digits(_NUMERIC_OID, 12, 2, 1, 0, 0, *divmod(value, _NUMERIC_BASE))
    digits: list[int] = []
    rest = abs(value)
    while rest:
        rest, digit = divmod(rest, _NUMERIC_BASE)
        digits.append(digit)
    count = len(digits)
    sign = _NUMERIC_NEGATIVE if value < 0 else 0
    first = (_NUMERIC_OID, 8 + 2 * count, count, count - 1, sign, 0)
    return struct.pack(f">IihhHh{count}h", *first, *reversed(digits))
