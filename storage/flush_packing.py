"""The rows of a flush as one parameter in Postgres's binary form, packed here and not by the driver.

The driver asks each row's class four times whether it is a container and of what kind, and makes a Decimal
of each amount of a slice. What a flush sends is known beforehand, so that a row is one ``Struct.pack`` with
its texts behind or between: a third of the time.

A row on the wire: its length, how many members it has, and of each member its type's OID, its length and
its value. ``flush_books`` (migration 0017) has an array of each kind of row, in the order of ``_KINDS``.
The driver takes its domain, ``packed_flush``, for bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from payments.defects import ContentDefect, InvariantViolation
from payments.rows import (
    AccountRow,
    AttemptRow,
    EventRow,
    HeadRow,
    OrderRow,
    OutcomeRow,
    PersonalRow,
    ProgressRow,
    RefusedRequestRow,
    SliceDeltaRow,
    TimerRow,
    TransferRow,
)
from storage.sessions import Session, postgres_faults
from storage.sql_files import load_statements

_SQL = load_statements("flush.sql")

PACKED_FLUSH = "packed_flush"

_header = struct.Struct(">Ii").pack
_TEXT_OID, _BYTEA_OID, _NUMERIC_OID = 25, 17, 1700
# What stands before each value of a fixed length: OIDs of Postgres's own types never change.
_BOOL, _SMALL, _INT, _BIG = _header(16, 1), _header(21, 2), _header(23, 4), _header(20, 8)
_TIME, _UUID = _header(1184, 8), _header(2950, 16)
_NULL_SMALL, _NULL_TIME, _NULL_TEXT = _header(21, -1), _header(1184, -1), _header(_TEXT_OID, -1)

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

_NUMERIC_BASE = 10_000
_NUMERIC_NEGATIVE = 0x4000
_NUMERIC_ZERO = _header(_NUMERIC_OID, 8) + bytes(8)

# Texts that are few, and each in many rows: currencies, PSPs, codes, versions.
WORDS_MAX = 1_024

# What a value raises that its member can't hold.
_UNFIT = (struct.error, AttributeError, TypeError, ValueError, OverflowError)

_LENGTH_SIZE = 4


class MemberOids(NamedTuple):
    """The types of one member of ``flush_books`` in this database."""

    array_oid: int
    element_oid: int


def _members(codes: str) -> str:
    """The format of members of fixed lengths, each behind its header; ``u`` stands for a UUID's bytes."""
    return "".join("8s" + ("16s" if code == "u" else code) for code in codes)


class _Row:
    """How a row of ``count`` members begins; the others, if any, follow as ``rest``."""

    def __init__(self, count: int, codes: str) -> None:
        packed = struct.Struct(">ii" + _members(codes))
        self._pack = packed.pack
        self._count = count
        self._own_length = packed.size - _LENGTH_SIZE

    def pack(self, rest: bytes, *first: object) -> bytes:
        return self._pack(self._own_length + len(rest), self._count, *first) + rest


def _run(codes: str) -> Callable[..., bytes]:
    return struct.Struct(">" + _members(codes)).pack


def _text(value: str | None) -> bytes:
    if value is None:
        return _NULL_TEXT
    encoded = value.encode()
    return _header(_TEXT_OID, len(encoded)) + encoded


_word = lru_cache(maxsize=WORDS_MAX)(_text)


def _bytea(value: bytes) -> bytes:
    return _header(_BYTEA_OID, len(value)) + value


def _micros(value: datetime) -> int:
    since = value - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_time_run = _run("q")


def _time(value: datetime | None) -> bytes:
    return _NULL_TIME if value is None else _time_run(_TIME, _micros(value))


_one_digit, _two_digits = struct.Struct(">IihhHhh").pack, struct.Struct(">IihhHhhh").pack


def _numeric(value: int) -> bytes:
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
    header = (_NUMERIC_OID, 8 + 2 * count, count, count - 1, sign, 0)
    return struct.pack(f">IihhHh{count}h", *header, *reversed(digits))


_HEAD, _head_end = _Row(8, "hqqqq"), _run("ii")


def _head(row: HeadRow) -> bytes:
    rest = _bytea(row.chain_hash) + _head_end(_INT, row.outcome_count, _INT, row.transfer_count)
    numbers = (_BIG, row.order_no_last, _BIG, row.account_no_last)
    fence = (_SMALL, row.partition_index, _BIG, row.epoch, _BIG, row.batch_seq_before)
    return _HEAD.pack(rest, *fence, *numbers)


_ORDER, _order_fee, _order_end = _Row(15, "hquuihiq"), _run("q"), _run("q?")


def _order(row: OrderRow) -> bytes:
    # fmt: off
    return _ORDER.pack(
        _word(row.currency) + _order_fee(_BIG, row.fee_minor) + _bytea(row.fingerprint)
        + _text(row.metadata_json) + _word(row.api_version)
        + _order_end(_TIME, _micros(row.accepted_at), _BOOL, row.captures_manually),
        _SMALL, row.partition_index, _BIG, row.order_no, _UUID, row.order_uuid.bytes,
        _UUID, row.idempotency_key.bytes, _INT, row.merchant_no, _SMALL, row.mode,
        _INT, row.seller_no, _BIG, row.amount_minor,
    )
    # fmt: on


_PERSONAL = _Row(4, "hqh")


def _personal(row: PersonalRow) -> bytes:
    index, order_no, part, envelope = row
    return _PERSONAL.pack(_bytea(envelope), _SMALL, index, _BIG, order_no, _SMALL, part)


_ATTEMPT, _attempt_end = _Row(7, "hqh"), _run("q")


def _attempt(row: AttemptRow) -> bytes:
    index, order_no, attempt_no, psp, psp_account, psp_key, epoch = row
    rest = _word(psp) + _word(psp_account) + _text(psp_key) + _attempt_end(_BIG, epoch)
    return _ATTEMPT.pack(rest, _SMALL, index, _BIG, order_no, _SMALL, attempt_no)


_PROGRESS, _progress_end = _Row(11, "hqh?hi"), _run("h")


def _progress(row: ProgressRow) -> bytes:
    reason = row.parked_reason
    # fmt: off
    return _PROGRESS.pack(
        _text(row.psp_reference) + _text(row.next_action_url) + _time(row.action_expires_at)
        + _time(row.next_retry_at)
        + (_NULL_SMALL if reason is None else _progress_end(_SMALL, reason)),
        _SMALL, row.partition_index, _BIG, row.order_no, _SMALL, row.status,
        _BOOL, row.is_outcome_known, _SMALL, row.attempt_no, _INT, row.try_count,
    )
    # fmt: on


_TIMER = _Row(4, "hqhq")


def _timer(row: TimerRow) -> bytes:
    index, order_no, kind, delay_ms = row
    return _TIMER.pack(b"", _SMALL, index, _BIG, order_no, _SMALL, kind, _BIG, delay_ms)


_OUTCOME, _outcome_attempt, _outcome_end = _Row(15, "hqqhqq"), _run("h"), _run("i")


def _outcome(row: OutcomeRow) -> bytes:
    # fmt: off
    return _OUTCOME.pack(
        _word(row.currency) + _outcome_attempt(_SMALL, row.attempt_no) + _word(row.psp)
        + _text(row.psp_reference) + _word(row.failure_code) + _word(row.decline_code)
        + _text(row.failure_message) + _time(row.effective_at)
        + _outcome_end(_INT, row.event_sequence),
        _SMALL, row.partition_index, _BIG, row.order_no, _BIG, row.batch_seq, _SMALL, row.status,
        _BIG, row.amount_captured_minor, _BIG, row.fee_minor,
    )
    # fmt: on


_TRANSFER = _Row(9, "hqhqhqqq")


def _transfer(row: TransferRow) -> bytes:
    index, order_no, step, batch_seq, kind, debit_no, credit_no, amount_minor, currency = row
    # fmt: off
    return _TRANSFER.pack(
        _word(currency),
        _SMALL, index, _BIG, order_no, _SMALL, step, _BIG, batch_seq, _SMALL, kind,
        _BIG, debit_no, _BIG, credit_no, _BIG, amount_minor,
    )
    # fmt: on


_ACCOUNT = _Row(7, "hqihh")


def _account(row: AccountRow) -> bytes:
    index, account_no, merchant_no, mode, kind, holder, currency = row
    owner = (_INT, merchant_no, _SMALL, mode, _SMALL, kind)
    return _ACCOUNT.pack(_text(holder) + _word(currency), _SMALL, index, _BIG, account_no, *owner)


_SLICE = _Row(8, "hqqq")


def _slice(row: SliceDeltaRow) -> bytes:
    index, account_no, version_before, count, debits, credits, held_debits, held_credits = row
    # fmt: off
    return _SLICE.pack(
        _numeric(debits) + _numeric(credits) + _numeric(held_debits) + _numeric(held_credits),
        _SMALL, index, _BIG, account_no, _BIG, version_before, _BIG, count,
    )
    # fmt: on


_EVENT = _Row(7, "hqiqhih")


def _event(row: EventRow) -> bytes:
    index, order_no, sequence, batch_seq, number, merchant_no, mode = row
    # fmt: off
    return _EVENT.pack(
        b"", _SMALL, index, _BIG, order_no, _INT, sequence, _BIG, batch_seq, _SMALL, number,
        _INT, merchant_no, _SMALL, mode,
    )
    # fmt: on


_REFUSED = _Row(4, "hu")


def _refused(row: RefusedRequestRow) -> bytes:
    rest = _bytea(row.fingerprint) + _time(row.accepted_at)
    return _REFUSED.pack(rest, _SMALL, row.partition_index, _UUID, row.order_uuid.bytes)


class FlushRows(NamedTuple):
    """What one flush sends: the members of ``flush_books``."""

    heads: Sequence[HeadRow]
    orders: Sequence[OrderRow]
    personal: Sequence[PersonalRow]
    attempts: Sequence[AttemptRow]
    progress: Sequence[ProgressRow]
    timers: Sequence[TimerRow]
    outcomes: Sequence[OutcomeRow]
    transfers: Sequence[TransferRow]
    accounts: Sequence[AccountRow]
    posted: Sequence[SliceDeltaRow]
    new_slices: Sequence[SliceDeltaRow]
    events: Sequence[EventRow]
    refused: Sequence[RefusedRequestRow]


_KINDS: Sequence[Callable[[Any], bytes]] = (
    *(_head, _order, _personal, _attempt, _progress, _timer, _outcome, _transfer),
    *(_account, _slice, _slice, _event, _refused),
)


class FlushPacking:
    """Packs flushes for one database. ``members`` are those of ``flush_books``, in their order."""

    def __init__(self, members: Sequence[MemberOids]) -> None:
        if len(members) != len(_KINDS):
            raise InvariantViolation(f"flush_books has {len(members)} members, not {len(_KINDS)}")
        self._members = members

    def pack(self, rows: FlushRows) -> bytes:
        """Return the value of ``packed_flush``. Raises ContentDefect for a value that no row can hold."""
        packed = [struct.pack(">i", len(_KINDS))]
        try:
            for oids, pack, of_kind in zip(self._members, _KINDS, rows, strict=True):
                body = b"".join(map(pack, of_kind))
                # Dimensions, NULLs, type; and of the one dimension its length and where it begins.
                if of_kind:
                    shape = struct.pack(">iiIii", 1, 0, oids.element_oid, len(of_kind), 1)
                else:
                    shape = struct.pack(">iiI", 0, 0, oids.element_oid)
                packed += (_header(oids.array_oid, len(shape) + len(body)), shape, body)
        except _UNFIT as error:
            raise ContentDefect(f"a row can't be stored: {error}") from error
        return b"".join(packed)


async def packing_for(session: Session) -> FlushPacking:
    """Return the packing for the session's database, and have its driver take what is packed.

    Raises StorageUnavailable, and InvariantViolation for books without migration 0017.
    """
    with postgres_faults():
        await session.take_as_bytes(PACKED_FLUSH)
        rows = await session.fetch(_SQL["flush_members"])
    return FlushPacking([MemberOids(*row) for row in rows])
