"""Evidence on Postgres, for the command line: what the books hold of attempts, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from payments.evidence import EvidenceSource
from storage.read_pool import ReadPool
from storage.sql_files import load_statements

_SQL = load_statements("evidence.sql")


class AttemptKey(NamedTuple):
    """Which attempt is asked for; ``attempt_no`` None: the order's latest one."""

    partition_index: int
    order_uuid: UUID
    attempt_no: int | None


class AttemptFound(NamedTuple):
    """An attempt and its order, as the books hold them. Amounts in minor units."""

    partition_index: int
    order_no: int
    order_uuid: UUID
    amount_minor: int
    currency: str
    attempt_no: int
    psp: str
    open_attempt_no: int | None
    """The attempt that the order waits for; None when the order has ended."""
    is_outcome_known: bool | None
    ended_status: int | None
    ended_attempt_no: int | None
    amount_captured_minor: int | None
    """Also what was captured since the order ended as an authorization."""
    ended_currency: str | None
    failure_code: str | None
    is_parked: bool
    """Whether no owner may touch the order, because doing so ended its process."""
    is_capture_open: bool
    """Whether a capture of it is under way: the PSP may have taken more than the books know."""

    @property
    def is_unknown(self) -> bool:
        """Whether this attempt is the one whose outcome its open order does not know."""
        return self.open_attempt_no == self.attempt_no and self.is_outcome_known is False


class Saying(NamedTuple):
    """What is said of one attempt: a row of evidence to be."""

    partition_index: int
    order_no: int
    attempt_no: int
    source: EvidenceSource
    result: int
    reference: str | None
    captured_minor: int
    currency: str | None
    effective_at: datetime | None


class EvidenceResult(NamedTuple):
    """What the partition's owner made of it."""

    result: int
    detail: str


class BookedOrder(NamedTuple):
    """An order as the books hold it, and whether it moved money at the PSP that is asked about."""

    order_no: int
    order_uuid: UUID
    taken_in_at: datetime
    is_charged: bool
    """The fields below are None where it is not."""
    attempt_no: int | None
    psp_reference: str | None
    captured_minor: int | None
    currency: str | None


class EvidenceStore(Protocol):
    """Every method raises StorageUnavailable."""

    async def attempts(self, keys: Sequence[AttemptKey]) -> Mapping[int, AttemptFound]:
        """Return the attempts that exist, by their place in ``keys``."""
        ...

    async def give(self, said: Sequence[Saying], *, actor: str, text: str) -> Sequence[int]:
        """Write evidence and audit it; return the numbers. Left out: attempts not open and unknown."""
        ...

    async def results(self, evidence_nos: Sequence[int]) -> Mapping[int, EvidenceResult]:
        """Return what became of those that were decided."""
        ...

    async def count_unknown(self, psp: str) -> int:
        """Return how many open orders at that PSP have an unknown outcome."""
        ...

    async def time(self) -> datetime:
        """Return the books' own time."""
        ...

    async def booked(
        self, psp: str, partition_index: int, *, below: int, until: datetime, count_max: int
    ) -> Sequence[BookedOrder]:
        """Return a partition's orders with numbers below that, newest first.

        ``is_charged`` where one moved money at that PSP and was booked until then.
        """
        ...


class PostgresEvidence:
    """Evidence of one shard."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def attempts(self, keys: Sequence[AttemptKey]) -> Mapping[int, AttemptFound]:
        """See ``EvidenceStore``."""
        if not keys:
            return {}
        rows = await self._pool.fetch(_SQL["attempts"], *(map(list, zip(*keys, strict=True))))
        return {
            row["position"] - 1: AttemptFound(*(row[name] for name in AttemptFound._fields))
            for row in rows
        }

    async def give(self, said: Sequence[Saying], *, actor: str, text: str) -> Sequence[int]:
        """See ``EvidenceStore``."""
        if not said:
            return []
        columns = map(list, zip(*said, strict=True))
        rows = await self._pool.write(_SQL["give"], *columns, actor, text)
        return [row["evidence_no"] for row in rows]

    async def results(self, evidence_nos: Sequence[int]) -> Mapping[int, EvidenceResult]:
        """See ``EvidenceStore``."""
        rows = await self._pool.fetch(_SQL["results"], list(evidence_nos))
        return {row["evidence_no"]: EvidenceResult(row["result"], row["detail"]) for row in rows}

    async def count_unknown(self, psp: str) -> int:
        """See ``EvidenceStore``."""
        row = await self._pool.fetchrow(_SQL["count_unknown"], psp)
        return 0 if row is None else int(row["unknown_count"])

    async def time(self) -> datetime:
        """See ``EvidenceStore``."""
        rows = await self._pool.fetch(_SQL["time"])
        time: datetime = rows[0]["now"]
        return time

    async def booked(
        self, psp: str, partition_index: int, *, below: int, until: datetime, count_max: int
    ) -> Sequence[BookedOrder]:
        """See ``EvidenceStore``."""
        rows = await self._pool.fetch(
            _SQL["booked"],
            psp,
            partition_index,
            below,
            until,
            count_max,
        )
        return [BookedOrder(*(row[name] for name in BookedOrder._fields)) for row in rows]
