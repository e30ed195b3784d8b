"""Dead letters on Postgres, for gateways and the command line: lists, bodies, and operators' actions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol
from uuid import UUID

import msgspec

from payments.mode import Mode
from payments.rows import LetterActionKind
from storage.envelope import read_header
from storage.letter_envelope import opened_raw
from storage.read_pool import ReadPool
from storage.sealing import DECODE_FAULTS
from storage.sql_files import load_statements

# A page of headers is about 40 KiB.
LETTERS_PAGE_MAX = 100
REASON_CHARACTERS_MAX = 500

# Above every number that is given.
ABOVE_ALL_LETTERS = 2**62

_FIELDS = ("c", "m", "k", "f", "v", "t", "r", "p")

_SQL = load_statements("letters.sql")


class LetterState(Enum):
    """Where a letter stands. The values are the API's."""

    WAITING = "waiting"
    REPLAYING = "replaying"
    """An operator wants it replayed, and its owner has not said yet what became of it."""
    DISCARDING = "discarding"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter without its body: nothing of it is personal."""

    dead_letter_no: int
    partition_index: int
    stream_id: str
    order_uuid: UUID | None
    merchant_id: str | None
    mode: Mode | None
    reason: str
    detail: str
    attempt_count: int
    """How often it was tried to take it in, replays included."""
    is_order: bool
    """Whether an order is shown as processing, or failed, because of it."""
    state: LetterState
    refusal: str | None
    """Why the last replay came to nothing; None when none did, or a later one took it in."""
    envelope_bytes: int
    created_at: datetime


class Letters(Protocol):
    """Every method raises StorageUnavailable."""

    async def page(
        self, *, below: int, state: LetterState | None, count_max: int
    ) -> Sequence[Letter]:
        """Return letters with numbers below that, newest first."""
        ...

    async def raw(self, dead_letter_no: int) -> tuple[bytes, ...] | None:
        """Return the message as it was: personal data. None for no letter, or an unknown envelope."""
        ...

    async def want(
        self, dead_letter_no: int, kind: LetterActionKind, *, actor: str, reason: str
    ) -> bool:
        """Write an action, and audit it. False when the letter is closed, or has one under way."""
        ...


class PostgresLetters:
    """Letters of one shard."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def page(
        self, *, below: int, state: LetterState | None, count_max: int
    ) -> Sequence[Letter]:
        """See ``Letters``."""
        rows = await self._pool.fetch(
            _SQL["letters"], below, None if state is None else state.value, count_max
        )
        return [
            Letter(
                dead_letter_no=row["dead_letter_no"],
                partition_index=row["partition_index"],
                stream_id=row["stream_id"],
                order_uuid=row["order_uuid"],
                merchant_id=row["merchant_id"],
                mode=None if row["mode"] is None else Mode(row["mode"]),
                reason=row["reason"],
                detail=row["detail"],
                attempt_count=row["attempt_count"],
                is_order=row["is_order"],
                state=LetterState(row["state"]),
                refusal=row["refusal"],
                envelope_bytes=row["envelope_bytes"],
                created_at=row["created_at"],
            )
            for row in rows
        ]

    async def raw(self, dead_letter_no: int) -> tuple[bytes, ...] | None:
        """See ``Letters``."""
        row = await self._pool.fetchrow(_SQL["envelope"], dead_letter_no)
        return None if row is None else opened_raw(row["raw_envelope"])

    async def want(
        self, dead_letter_no: int, kind: LetterActionKind, *, actor: str, reason: str
    ) -> bool:
        """See ``Letters``."""
        return bool(await self._pool.write(_SQL["want"], dead_letter_no, kind, actor, reason))

    async def of_order(self, partition_index: int, order_uuid: UUID) -> Letter | None:
        """Return the letter that an order is behind. Raises StorageUnavailable."""
        row = await self._pool.fetchrow(_SQL["letter_of_order"], partition_index, order_uuid)
        return None if row is None else await one_letter(self, row["dead_letter_no"])

    async def audit_read(self, dead_letter_no: int, *, actor: str, reason: str) -> None:
        """Note that somebody reads a letter's body. Raises StorageUnavailable."""
        await self._pool.write(
            _SQL["audit"], actor, "dead_letter.read", str(dead_letter_no), reason
        )

    async def accept(self, partition_index: int, *, for_s: int, actor: str, reason: str) -> None:
        """Accept any share of letters in a partition for a time; 0 ends it. Raises StorageUnavailable."""
        await self._pool.write(
            _SQL["accept_letters"], partition_index, json.dumps(for_s), actor, reason
        )


async def one_letter(letters: Letters, dead_letter_no: int) -> Letter | None:
    """Return one letter, or None. Raises StorageUnavailable."""
    page = await letters.page(below=dead_letter_no + 1, state=None, count_max=1)
    return page[0] if page and page[0].dead_letter_no == dead_letter_no else None


def redacted(raw: Sequence[bytes]) -> dict[str, str | None]:
    """Return what a message's fields hold by kind and size: nothing of it is personal.

    The header's readable parts are shown as they are; of the payload the types of its members.
    """
    header = read_header(raw)
    fields = dict(zip(raw[0::2], raw[1::2], strict=False))
    shown: dict[str, str | None] = {
        "c": _word(header.kind),
        "m": None if header.mode is None else f"{header.merchant_no}|{header.mode.wire}",
        "k": None if header.order_uuid is None else str(header.order_uuid),
        "t": None if header.accepted_at is None else header.accepted_at.isoformat(),
        "r": header.reply_to,
    }
    for name in _FIELDS:
        value = fields.get(name.encode())
        if shown.get(name) is None:
            shown[name] = None if value is None else f"{len(value)} bytes"
    payload = fields.get(b"p")
    if payload is not None:
        shown["p"] = f"{len(payload)} bytes{_members(payload)}"
    unknown_count = len(set(fields) - {name.encode() for name in _FIELDS})
    shown["others"] = f"{unknown_count} fields" if unknown_count else None
    return shown


def _word(kind: bytes | None) -> str | None:
    """A command's name, if it can be one; anything else only by its size."""
    return kind.decode() if kind is not None and kind.isalpha() and len(kind) <= 20 else None


def _members(payload: bytes) -> str:
    try:
        members = msgspec.msgpack.decode(payload)
    except DECODE_FAULTS:
        return ", no MessagePack"
    if not isinstance(members, list):
        return f", {type(members).__name__}"
    return ": " + ", ".join(_kind(member) for member in members[:20])


def _kind(member: object) -> str:
    size = f"({len(member)})" if isinstance(member, str | bytes | list | dict) else ""
    return f"{type(member).__name__}{size}"
