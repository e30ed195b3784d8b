"""The ledger of one shard as a partition host uses it: lanes to write on, and look-ups."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

import asyncpg

from payments.accounts import AccountKey
from payments.evidence import Evidence
from payments.psp_events import EndedOrder, EventFound, PspEvent
from payments.rows import LetterActionKind
from payments.state import AccountHead
from storage.connections import INDEX_LOOPS, Connector
from storage.lane import PostgresLane, no_probe
from storage.letter_envelope import opened_raw
from storage.operated_payments import asked, operated_payments
from storage.ports import DueTimer, KnownOrders, OperatedPayments, OperationKey, SetAside
from storage.queue_ports import LetterAction
from storage.sessions import Session, postgres_faults
from storage.sql_files import load_statements

_SQL = load_statements("ledger.sql")

# A look at events postpones them, which is no fact that a copy must hold: nobody waits for the standby.
_LOOK_SETTINGS = {**INDEX_LOOPS, "synchronous_commit": "local"}


class PostgresLedger:
    """Implements ``storage.ports.OwnerLedger`` on the primary of one shard."""

    def __init__(
        self, connector: Connector, *, lane_count: int, probe: Callable[[str], None] = no_probe
    ) -> None:
        self._lanes = [PostgresLane(connector, probe=probe) for _ in range(lane_count)]
        self._reader = Reader(connector, INDEX_LOOPS)
        # Apart from the reader that every flush asks: it writes, and reads pages of hundreds.
        self._event_reader = Reader(connector, _LOOK_SETTINGS)

    @property
    def lanes(self) -> Sequence[PostgresLane]:
        return self._lanes

    async def known_orders(self, keys: Sequence[tuple[int, UUID]]) -> KnownOrders:
        """See ``storage.ports.OwnerLedger``. Raises StorageUnavailable."""
        if not keys:
            return KnownOrders({}, {})
        columns = (
            [partition_index for partition_index, _ in keys],
            [order_uuid for _, order_uuid in keys],
        )
        rows = await self._reader.fetch(_SQL["known_orders"], *columns)
        fingerprints = {
            row["order_uuid"]: row["fingerprint"] for row in rows if not row["is_set_aside"]
        }
        if len(fingerprints) == len(rows):
            return KnownOrders(fingerprints, {})
        # Only the owner, who asks, takes orders in: between the two statements none is.
        aside = await self._reader.fetch(_SQL["set_aside_orders"], *columns)
        return KnownOrders(
            fingerprints,
            {
                row["order_uuid"]: SetAside(
                    row["dead_letter_no"], row["fingerprint"], row["is_held"]
                )
                for row in aside
            },
        )

    async def operated_payments(
        self, operations: Sequence[OperationKey], payments: Sequence[tuple[int, int]]
    ) -> OperatedPayments:
        """See ``storage.ports.OwnerLedger``. Raises StorageUnavailable."""
        rows = await self._reader.fetch(_SQL["operated_payments"], *asked(operations, payments))
        return operated_payments(rows)

    async def account_heads(
        self, keys: Sequence[tuple[int, AccountKey]]
    ) -> Mapping[tuple[int, AccountKey], AccountHead]:
        """See ``storage.ports.OwnerLedger``. Raises StorageUnavailable."""
        if not keys:
            return {}
        rows = await self._reader.fetch(
            _SQL["account_heads"],
            [partition_index for partition_index, _ in keys],
            [key.merchant_no for _, key in keys],
            [int(key.mode) for _, key in keys],
            [int(key.kind) for _, key in keys],
            [key.holder for _, key in keys],
            [key.currency for _, key in keys],
        )
        return {
            keys[row["position"] - 1]: AccountHead(
                account_no=row["account_no"],
                version=row["version"],
                debits_posted_minor=int(row["debits_posted_minor"]),
                credits_posted_minor=int(row["credits_posted_minor"]),
                debits_pending_minor=int(row["debits_pending_minor"]),
                credits_pending_minor=int(row["credits_pending_minor"]),
            )
            for row in rows
        }

    async def due_timers(
        self, partition_indexes: Sequence[int], *, count_max: int
    ) -> Sequence[DueTimer]:
        """See ``storage.ports.OwnerLedger``. Raises StorageUnavailable."""
        if not partition_indexes:
            return []
        rows = await self._reader.fetch(_SQL["due_timers"], list(partition_indexes), count_max)
        return [
            DueTimer(
                partition_index=row["partition_index"], order_no=row["order_no"], kind=row["kind"]
            )
            for row in rows
        ]

    async def pending_actions(
        self, partition_indexes: Sequence[int], *, count_max: int
    ) -> Sequence[LetterAction]:
        """See ``storage.ports.OwnerLedger``. Raises StorageUnavailable."""
        pending = await self._reader.fetch(
            _SQL["pending_actions"], list(partition_indexes), count_max
        )
        if not pending:
            return []
        rows = await self._reader.fetch(
            _SQL["letters_of_actions"], [row["action_no"] for row in pending]
        )
        return [
            LetterAction(
                action_no=row["action_no"],
                dead_letter_no=row["dead_letter_no"],
                partition_index=row["partition_index"],
                is_replay=row["action"] == LetterActionKind.REPLAY,
                stream_id=row["stream_id"],
                raw=opened_raw(row["raw_envelope"]),
                is_closed=row["is_closed"],
            )
            for row in rows
        ]

    async def pending_evidence(
        self, partition_indexes: Sequence[int], *, count_max: int
    ) -> Sequence[Evidence]:
        """See ``storage.ports.OwnerLedger``. Raises StorageUnavailable."""
        rows = await self._reader.fetch(
            _SQL["pending_evidence"], list(partition_indexes), count_max
        )
        return [Evidence(**row) for row in rows]

    async def due_psp_events(
        self, partition_indexes: Sequence[int], *, count_max: int, wait_s_max: float
    ) -> Sequence[EventFound]:
        """See ``storage.ports.OwnerLedger``. Raises StorageUnavailable."""
        rows = await self._event_reader.fetch(
            _SQL["due_psp_events"], list(partition_indexes), count_max, wait_s_max
        )
        return list(map(_event_found, rows))

    async def note_paused(self, partition_indexes: Sequence[int], paused: Sequence[int]) -> None:
        """See ``storage.ports.OwnerLedger``. Raises StorageUnavailable."""
        await self._reader.fetch(_SQL["note_paused"], list(partition_indexes), list(paused))

    async def letter_overrides(self) -> frozenset[int]:
        """See ``storage.ports.OwnerLedger``. Raises StorageUnavailable."""
        rows = await self._reader.fetch(_SQL["letter_overrides"])
        return frozenset(row["partition_index"] for row in rows)

    async def close(self) -> None:
        """End all connections, each after what it has in flight."""
        for lane in self._lanes:
            await lane.close()
        await self._reader.close()
        await self._event_reader.close()


_EVENT_COLUMNS = PspEvent._fields[:-1]


def _event_found(row: asyncpg.Record) -> EventFound:
    ended = None
    if row["ended_status"] is not None:
        ended = EndedOrder(
            status=row["ended_status"],
            attempt_no=row["ended_attempt_no"],
            captured_minor=row["ended_captured_minor"],
            currency=row["ended_currency"],
            psp_reference=row["ended_reference"],
        )
    return EventFound(
        partition_index=row["partition_index"],
        event=PspEvent(*(row[name] for name in _EVENT_COLUMNS)),
        order_no=row["order_no"],
        attempt_psp=row["attempt_psp"],
        ended=ended,
        is_overdue=row["is_overdue"],
    )


class Reader:
    """One connection for statements that follow each other; opened when needed."""

    def __init__(self, connector: Connector, settings: Mapping[str, str]) -> None:
        self._connector = connector
        self._settings = settings
        self._session: Session | None = None
        self._turn = asyncio.Lock()

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one statement. Raises StorageUnavailable."""
        async with self._turn:
            if self._session is None or not self._session.is_open:
                self._session = None
                self._session = await self._connector.open_marked(self._settings)
            with postgres_faults():
                return await self._session.finish(self._session.fetch(sql, *arguments))

    async def close(self) -> None:
        async with self._turn:
            if self._session is not None:
                await self._session.close()
                self._session = None
