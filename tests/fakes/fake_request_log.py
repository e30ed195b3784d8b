"""The request log in memory. ``is_available = False`` makes every method fail."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from runtime.faults import StorageUnavailable
from storage.request_rows import LoggedRequest, Whose


class FakeRequestLog:
    """``storage.request_log.RequestLogStore`` over a list. Its turn is never passed on."""

    def __init__(self) -> None:
        self.is_available = True
        self.rows: list[LoggedRequest] = []
        self.batches: list[int] = []
        self.turns: list[tuple[int, int]] = []

    async def turn(self, *, keep_s: int, bytes_max: int) -> int:
        self._check()
        self.turns.append((keep_s, bytes_max))
        return 0

    async def write(self, slot: int, rows: Sequence[LoggedRequest]) -> None:
        self._check()
        assert 0 <= slot < 32
        self.batches.append(len(rows))
        self.rows.extend(rows)

    async def one(self, whose: Whose, request_no: UUID) -> LoggedRequest | None:
        found = [row for row in self._of(whose) if row.request_no == request_no]
        return found[0] if found else None

    async def of_key(
        self, whose: Whose, key: UUID, *, before: UUID, count_max: int
    ) -> Sequence[LoggedRequest]:
        older = await self.older(whose, before=before, count_max=len(self.rows))
        return [row for row in older if row.idempotency_key == key][:count_max]

    async def older(self, whose: Whose, *, before: UUID, count_max: int) -> Sequence[LoggedRequest]:
        found = [row for row in self._of(whose) if row.request_no < before]
        return sorted(found, key=_number, reverse=True)[:count_max]

    async def newer(self, whose: Whose, *, after: UUID, count_max: int) -> Sequence[LoggedRequest]:
        found = [row for row in self._of(whose) if row.request_no > after]
        return sorted(found, key=_number)[:count_max]

    def _of(self, whose: Whose) -> Sequence[LoggedRequest]:
        self._check()
        return [row for row in self.rows if (row.merchant_no, row.mode) == whose]

    def _check(self) -> None:
        if not self.is_available:
            raise StorageUnavailable("postgres", "the fake is switched off")


def _number(row: LoggedRequest) -> UUID:
    return row.request_no
