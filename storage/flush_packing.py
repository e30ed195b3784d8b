"""The rows of a flush as one parameter in Postgres's binary form, packed here and not by the driver.

The driver asks each row's class four times whether it is a container and of what kind, and makes a Decimal
of each amount of a slice. What a flush sends is known beforehand, so that a row is one ``Struct.pack`` with
its texts behind or between: a third of the time.

``flush_books`` (migration 0017) has an array of each kind of row, in the order of ``_KINDS``.
The driver takes its domain, ``packed_flush``, for bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from payments.defects import ContentDefect, InvariantViolation, caused_by
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
from storage.binary_rows import (
    BIG,
    BOOL,
    INT,
    NULL_SMALL,
    SMALL,
    TIME,
    UNFIT,
    UUID,
    RowStart,
    bytea,
    header,
    micros,
    numeric,
    run,
    text,
    time,
    whole_row,
    word,
)
from storage.sessions import Session, postgres_faults
from storage.sql_files import load_statements

_SQL = load_statements("flush.sql")

PACKED_FLUSH = "packed_flush"


class MemberOids(NamedTuple):
    """The types of one member of ``flush_books`` in this database."""

    array_oid: int
    element_oid: int


_HEAD, _head_end = RowStart(8, "hqqqq"), run("ii")


def _head(row: HeadRow) -> bytes:
    rest = bytea(row.chain_hash) + _head_end(INT, row.outcome_count, INT, row.transfer_count)
    numbers = (BIG, row.order_no_last, BIG, row.account_no_last)
    fence = (SMALL, row.partition_index, BIG, row.epoch, BIG, row.batch_seq_before)
    return _HEAD.pack(rest, *fence, *numbers)


_ORDER, _order_fee, _order_end = RowStart(15, "hquuihiq"), run("q"), run("q?")


def _order(row: OrderRow) -> bytes:
    # fmt: off
    return _ORDER.pack(
        word(row.currency) + _order_fee(BIG, row.fee_minor) + bytea(row.fingerprint)
        + text(row.metadata_json) + word(row.api_version)
        + _order_end(TIME, micros(row.accepted_at), BOOL, row.captures_manually),
        SMALL, row.partition_index, BIG, row.order_no, UUID, row.order_uuid.bytes,
        UUID, row.idempotency_key.bytes, INT, row.merchant_no, SMALL, row.mode,
        INT, row.seller_no, BIG, row.amount_minor,
    )
    # fmt: on


_PERSONAL = RowStart(4, "hqh")


def _personal(row: PersonalRow) -> bytes:
    index, order_no, part, envelope = row
    return _PERSONAL.pack(bytea(envelope), SMALL, index, BIG, order_no, SMALL, part)


_ATTEMPT, _attempt_end = RowStart(7, "hqh"), run("q")


def _attempt(row: AttemptRow) -> bytes:
    index, order_no, attempt_no, psp, psp_account, psp_key, epoch = row
    rest = word(psp) + word(psp_account) + text(psp_key) + _attempt_end(BIG, epoch)
    return _ATTEMPT.pack(rest, SMALL, index, BIG, order_no, SMALL, attempt_no)


_PROGRESS, _progress_end = RowStart(11, "hqh?hi"), run("h")


def _progress(row: ProgressRow) -> bytes:
    reason = row.parked_reason
    # fmt: off
    return _PROGRESS.pack(
        text(row.psp_reference) + text(row.next_action_url) + time(row.action_expires_at)
        + time(row.next_retry_at)
        + (NULL_SMALL if reason is None else _progress_end(SMALL, reason)),
        SMALL, row.partition_index, BIG, row.order_no, SMALL, row.status,
        BOOL, row.is_outcome_known, SMALL, row.attempt_no, INT, row.try_count,
    )
    # fmt: on


_timer_row = whole_row(4, "hqhq")


def _timer(row: TimerRow) -> bytes:
    index, order_no, kind, delay_ms = row
    return _timer_row(SMALL, index, BIG, order_no, SMALL, kind, BIG, delay_ms)


_OUTCOME, _outcome_attempt, _outcome_end = RowStart(15, "hqqhqq"), run("h"), run("i")


def _outcome(row: OutcomeRow) -> bytes:
    # fmt: off
    return _OUTCOME.pack(
        word(row.currency) + _outcome_attempt(SMALL, row.attempt_no) + word(row.psp)
        + text(row.psp_reference) + word(row.failure_code) + word(row.decline_code)
        + text(row.failure_message) + time(row.effective_at)
        + _outcome_end(INT, row.event_sequence),
        SMALL, row.partition_index, BIG, row.order_no, BIG, row.batch_seq, SMALL, row.status,
        BIG, row.amount_captured_minor, BIG, row.fee_minor,
    )
    # fmt: on


_TRANSFER = RowStart(9, "hqhqhqqq")


def _transfer(row: TransferRow) -> bytes:
    index, order_no, step, batch_seq, kind, debit_no, credit_no, amount_minor, currency = row
    # fmt: off
    return _TRANSFER.pack(
        word(currency),
        SMALL, index, BIG, order_no, SMALL, step, BIG, batch_seq, SMALL, kind,
        BIG, debit_no, BIG, credit_no, BIG, amount_minor,
    )
    # fmt: on


_ACCOUNT = RowStart(7, "hqihh")


def _account(row: AccountRow) -> bytes:
    index, account_no, merchant_no, mode, kind, holder, currency = row
    owner = (INT, merchant_no, SMALL, mode, SMALL, kind)
    return _ACCOUNT.pack(text(holder) + word(currency), SMALL, index, BIG, account_no, *owner)


_SLICE = RowStart(8, "hqqq")


def _slice(row: SliceDeltaRow) -> bytes:
    index, account_no, version_before, count, posted_from, posted_to, held_from, held_to = row
    # fmt: off
    return _SLICE.pack(
        numeric(posted_from) + numeric(posted_to) + numeric(held_from) + numeric(held_to),
        SMALL, index, BIG, account_no, BIG, version_before, BIG, count,
    )
    # fmt: on


_event_row = whole_row(7, "hqiqhih")


def _event(row: EventRow) -> bytes:
    index, order_no, sequence, batch_seq, number, merchant_no, mode = row
    # fmt: off
    return _event_row(
        SMALL, index, BIG, order_no, INT, sequence, BIG, batch_seq, SMALL, number,
        INT, merchant_no, SMALL, mode,
    )
    # fmt: on


_REFUSED = RowStart(4, "hu")


def _refused(row: RefusedRequestRow) -> bytes:
    rest = bytea(row.fingerprint) + time(row.accepted_at)
    return _REFUSED.pack(rest, SMALL, row.partition_index, UUID, row.order_uuid.bytes)


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
                packed += (header(oids.array_oid, len(shape) + len(body)), shape, body)
        except UNFIT as error:
            raise caused_by(ContentDefect(f"a row can't be stored: {error}"), error)
        return b"".join(packed)


async def packing_for(session: Session) -> FlushPacking:
    """Return the packing for the session's database, and have its driver take what is packed.

    Raises StorageUnavailable, and InvariantViolation for books without migration 0017.
    """
    with postgres_faults():
        rows = await session.fetch(_SQL["flush_members"])
        await session.take_as_bytes(PACKED_FLUSH)
    return FlushPacking([MemberOids(*row) for row in rows])
