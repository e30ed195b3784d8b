"""One question for each mutant of what is written to the ledger."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from actors.lane_worker import LanePorts, LaneWorker
from payments import chain, transfers
from payments.decided import Decided
from payments.posting import Posting
from payments.rows import EventRow, HeadRow, OutcomeRow
from payments.state import AccountHead, PartitionHead
from runtime.clock import SystemClock
from storage import connections, lane, ownership
from storage.flush_packing import FlushRows
from storage.lane import PostgresLane
from storage.ports import CommitUnknown, Flush, LaneReplaced, StorageUnavailable
from tests.queue_commands import a_command
from tests.scenario import START

_HEAD = PartitionHead(
    partition_index=0,
    epoch=1,
    batch_seq=0,
    order_no_last=0,
    account_no_last=9,
    chain_hash=chain.GENESIS,
)
_OUTCOME = OutcomeRow(
    *(0, 1, 1, 6, 0, 0, "USD", 1, "psp", None, "declined", None, None, None),
    event_sequence=2,
)
# Whatever the types of the books are called: nobody reads them here.
_ARRAY_OID = 1
_EVENTS = [EventRow(0, 1, 2, 1, 6, 1, 1), EventRow(0, 2, 1, 1, 1, 1, 1)]


def _packed_event_count(packed: bytes) -> int:
    """How many events are in a flush as it is sent: of each kind a type, a length, and its rows."""
    at = 4
    begin_at: dict[str, int] = {}
    for kind in FlushRows._fields:
        _, length = struct.unpack_from(">Ii", packed, at)
        begin_at[kind] = at + 8
        at += 8 + length
    dimension_count, _, _ = struct.unpack_from(">iiI", packed, begin_at["events"])
    count: int = struct.unpack_from(">i", packed, begin_at["events"] + 12)[0]
    return count if dimension_count else 0


class _Session:
    """Takes whatever a lane sends, and remembers which events came in which statement."""

    backend = SimpleNamespace(pid=1)
    is_open = True

    def __init__(self) -> None:
        self.event_counts: list[int] = []

    async def execute(self, sql: str) -> str:
        return sql

    def take_warnings(self) -> list[str]:
        return []

    async def finish(self, work: Any) -> Any:
        return await work

    async def send_rows(self, _sql: str, *rows: Any) -> Mapping[str, Any]:
        self._note(rows)
        return {
            "passed": [0],
            "progressed_count": 0,
            "sliced_count": 0,
            "closed_count": 1,
            "recorded_at": START,
        }

    async def take_as_bytes(self, _domain: str) -> None:
        return

    async def fetch(self, sql: str, *rows: Any) -> list[Any]:
        if sql == _statement(lane, "flush_members"):
            return [(_ARRAY_OID, number) for number in range(len(FlushRows._fields))]
        self._note(rows)
        return []

    def _note(self, rows: Sequence[Any]) -> None:
        events = [row for kind in rows for row in kind if isinstance(row, EventRow)]
        packed = [value for value in rows if isinstance(value, bytes)]
        self.event_counts.append(len(events) + sum(map(_packed_event_count, packed)))


class _Connector:
    """Opens one session after the other."""

    def __init__(self) -> None:
        self.sessions: list[_Session] = []

    async def open_marked(self, _settings: object) -> _Session:
        self.sessions.append(_Session())
        self.sessions[-1].backend = SimpleNamespace(pid=len(self.sessions))
        return self.sessions[-1]


class _DoubtfulLane:
    """Never hears of its COMMIT."""

    async def append(self, flush: Flush) -> Any:
        raise CommitUnknown(frozenset({0}), f"{len(flush.heads)} heads, no answer")


def _flush() -> Flush:
    head = HeadRow(
        partition_index=0,
        epoch=1,
        batch_seq_before=0,
        order_no_last=1,
        account_no_last=9,
        chain_hash=chain.GENESIS,
        outcome_count=1,
        transfer_count=0,
    )
    return Flush(heads=[head], outcomes=[_OUTCOME], events=list(_EVENTS))


def _statement(module: Any, name: str) -> str:
    text: str = vars(module)["_SQL"][name]
    return text


async def _after_a_reconnection() -> str:
    """What becomes of a flush on another connection than the claim recorded."""
    connector: Any = _Connector()
    writing = PostgresLane(connector)
    writing.pledge(0, await writing.ready())
    connector.sessions[0].is_open = False
    try:
        await writing.append(_flush())
    except LaneReplaced:
        return "replaced"
    return "written"


def lane_of_a_worker(around: object) -> Any:
    """The lane that a worker writes on when it is given this one."""
    given: dict[str, Any] = {
        **dict.fromkeys(("ledger", "calls", "ledger_clock", "crash_points", "metrics")),
        **dict.fromkeys(("on_taken_in", "on_replies", "on_lost", "on_unclear"), print),
        "lane": around,
        "clock": SystemClock(),
    }
    settings: Any = None
    worker = LaneWorker(settings, LanePorts(**given))
    return vars(worker)["_ports"].lane


def _what_a_worker_sees_of_doubt() -> str:
    try:
        asyncio.run(lane_of_a_worker(_DoubtfulLane()).append(_flush()))
    except (CommitUnknown, StorageUnavailable) as fault:
        return type(fault).__name__
    return "written"


def fence_skipped() -> object:
    """What the flush's fence compares, and what becomes of a flush on another connection."""
    sql = _statement(lane, "write_flush")
    compared = [f"partition.{name} = head." in sql for name in ("epoch", "batch_seq")]
    return [*compared, asyncio.run(_after_a_reconnection())]


def epoch_kept_at_takeover() -> object:
    """Whether a claim raises the epoch whoever owned the partition."""
    return "SET epoch = epoch + 1," in _statement(ownership, "claim")


def read_before_marker() -> object:
    """How the marker is committed."""
    return _statement(connections, "commit_synchronously").split()[-1]


def _posted() -> Decided:
    command = a_command()
    movements = transfers.of_success(command, "psp")
    held = {
        key: AccountHead(
            account_no=number, version=4, debits_posted_minor=100, credits_posted_minor=200
        )
        for number, key in enumerate(
            sorted({key for m in movements for key in (m.debit, m.credit)})
        )
    }
    decided = Decided(0, _HEAD, account_no_last=9)
    posting = Posting(decided, held, 1)
    posting.move(1, movements)
    posting.finish()
    return decided


def balance_written_from_memory() -> object:
    """What a flush says of the slices, and what the statement does with it."""
    sql = _statement(lane, "write_flush")
    return [
        sorted(row.credits_posted_minor for row in _posted().slices),
        "slice.credits_posted_minor + posted.credits_posted_minor" in sql,
        "slice.version = posted.version_before" in sql,
    ]


def versions_skipped() -> object:
    """How many versions each slice of a payment goes up."""
    return sorted(row.transfer_count for row in _posted().slices)


def last_event_after_commit() -> object:
    """How many events each statement of a flush brings, and of what follows it."""

    async def ask() -> object:
        connector: Any = _Connector()
        writing = PostgresLane(connector)
        writing.pledge(0, await writing.ready())
        await writing.append(_flush())
        await asyncio.sleep(0.3)
        return connector.sessions[0].event_counts

    return asyncio.run(ask())


def chain_skips_declines() -> object:
    """Whether a batch of one decline leaves the chain as it was."""
    return chain.extend(chain.GENESIS, 0, 1, [_OUTCOME], []) == chain.GENESIS


def _steps(reply_to: str) -> list[int]:
    command = a_command()._replace(reply_to=reply_to)
    return [movement.step for movement in transfers.of_success(command, "psp")]


def charge_posted_again_at_takeover() -> object:
    """The transfers of an order that was taken in here, and of one taken over."""
    return [_steps("reply:gateway-0"), _steps("")]


fee_lost_at_takeover = charge_posted_again_at_takeover


def settled_again_after_unknown() -> object:
    """What an owner hears of a COMMIT in doubt, and whether it could write the same again."""
    sql = _statement(lane, "write_flush")
    return [
        _what_a_worker_sees_of_doubt(),
        asyncio.run(_after_a_reconnection()),
        "partition.batch_seq = head." in sql,
        sql.count("ON CONFLICT DO NOTHING") > 9,
    ]


def unknown_commit_taken_for_done() -> object:
    """What an owner hears of a COMMIT in doubt."""
    return _what_a_worker_sees_of_doubt()
