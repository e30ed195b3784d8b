"""Which copy of a store leads, and which other one holds all that was acknowledged.

Kept in a file of the stack's home, outside of the store concerned, and fsynced: it is what a
promotion rests on, and what says after a crash who must never lead again. A copy is taken off the
list before anything is done that could make it lack something: one copy is accepted, its data is
thrown away. It is put on the list only when a look showed that it has everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from ops.local.durable import write_durably
from ops.local.faults import DataRefused, PromotionRefused
from ops.local.process import ChildProcess

# What an operator may still want to know the next morning; restarts of a bad night would hide it.
HISTORY_COUNT_MAX = 30

# Both local stores have one replica, and acknowledge when that one has fsynced.
REPLICA_COUNT = 1
REPLICAS_AWAITED = 1


# Below the home's data: the record of each store, and what its servers are called.
RECORD_FILES = {"postgres": "postgres-primary.json", "redis": "valkey-primary.json"}
NODE_NAMES = {"postgres": "postgres_{}", "redis": "valkey_{}"}


class StoreEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done to a store."""

    at: str
    what: str
    """restarted, rebuilt, promoted, one_copy_accepted, one_copy_ended"""
    node: str
    reason: str = ""
    took_s: float = 0.0


class OneCopy(msgspec.Struct, frozen=True, kw_only=True):
    """The operator accepts that acknowledgements rest on the primary alone."""

    until: str
    actor: str
    is_ending: bool = False
    """Nobody rests on it any more by now; who had been told so is given the time to notice."""


class OwedAudit(msgspec.Struct, frozen=True, kw_only=True):
    """What the books' audit table is still to be told: they may be away, or what is promoted."""

    actor: str
    action: str
    detail: dict[str, Any]
    """Holds the time, which tells it from the same action at another time."""


class CopiesRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a store's copies, by their node numbers."""

    primary: int | None = None
    in_sync: list[int] = []
    """Others than the primary that hold everything acknowledged."""
    given_up: list[int] = []
    """Former primaries whose data never leads again, nor follows: they are copied anew."""
    replication_id: str = ""
    """Redis: the history that they were in sync with."""
    one_copy: OneCopy | None = None
    history: list[StoreEvent] = []
    audits_owed: list[OwedAudit] = []

    @property
    def is_second_awaited(self) -> bool:
        """Are acknowledgements to wait for the second copy?"""
        return self.one_copy is None or self.one_copy.is_ending


class CopiesFile:
    """The record of one store, on disk."""

    def __init__(self, path: Path, server: str) -> None:
        self.path = path
        self._server = server

    def read(self) -> CopiesRecord:
        """Raises DataRefused when it is there and can't be understood."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=CopiesRecord)
        except FileNotFoundError:
            return CopiesRecord()
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise DataRefused(
                self._server,
                f"{self.path} can't be read ({error}), and it says which copy leads",
                'Write {"primary": 1} or {"primary": 2} to it, whichever led last',
            ) from error

    def change(self, **changes: object) -> CopiesRecord:
        """Write what changes; on the disk when this returns."""
        before = self.read()
        record = msgspec.structs.replace(before, **changes)
        if record != before or not self.path.exists():
            text = msgspec.json.format(msgspec.json.encode(record)).decode()
            write_durably(self.path, text + "\n")
        return record

    def mark_in_sync(self, *, primary: int, other: int, replication_id: str = "") -> None:
        """That copy has everything acknowledged, and gets everything before it is acknowledged."""
        if self.read().one_copy is not None:
            return  # what is acknowledged now may be on the primary alone
        self.change(primary=primary, in_sync=[other], replication_id=replication_id)

    def forget(self, number: int) -> None:
        """Before that copy may begin to lack something."""
        self.change(in_sync=[known for known in self.read().in_sync if known != number])

    def hand_over(self, *, former: int, to: int) -> None:
        """From now on, and through power cuts, that copy leads and the former one is given up."""
        self.change(primary=to, in_sync=[], given_up=[former])

    def is_given_up(self, number: int) -> bool:
        return number in self.read().given_up

    def take_back(self, number: int) -> None:
        """Nothing is left of what was given up."""
        self.change(given_up=[known for known in self.read().given_up if known != number])

    def note(self, event: StoreEvent) -> None:
        self.change(history=[*self.read().history, event][-HISTORY_COUNT_MAX:])

    def owe(self, audit: OwedAudit) -> None:
        """Keep it, through the daemon's end, until the books have it."""
        self.change(audits_owed=[*self.read().audits_owed, audit])

    def audited(self, audit: OwedAudit) -> None:
        """The books have it."""
        self.change(audits_owed=[owed for owed in self.read().audits_owed if owed != audit])


def promotion_audit(event: StoreEvent, *, actor: str, is_forced: bool) -> OwedAudit:
    """What the books are told of a promotion."""
    detail = {
        "at": event.at,
        "node": event.node,
        "reason": event.reason,
        "is_forced": is_forced,
    }
    return OwedAudit(actor=actor, action="stores.promote", detail=detail)


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How much a copy holds durably: bytes of the store's own log."""

    number: int
    offset: int
    replication_id: str = ""


def choose(positions: Sequence[Position], record: CopiesRecord, *, is_forced: bool) -> Position:
    """Return the copy to promote: of those that were in sync the one that has most.

    ``positions`` are those of every copy that could be compared. Raises PromotionRefused.
    """
    if REPLICAS_AWAITED + len(positions) <= REPLICA_COUNT:
        raise PromotionRefused(
            f"{len(positions)} of {REPLICA_COUNT} copies can be compared: the one that is missing "
            "may hold what was acknowledged"
        )
    fit = [position for position in positions if is_forced or _is_fit(position, record)]
    if not fit:
        if record.one_copy is not None:
            raise PromotionRefused(
                f"one copy is accepted until {record.one_copy.until}: the primary alone may hold "
                "what was acknowledged since"
            )
        raise PromotionRefused(
            "no other copy is known to hold everything that was acknowledged: bring the primary's "
            "data back"
        )
    return max(fit, key=lambda position: position.offset)


def _is_fit(position: Position, record: CopiesRecord) -> bool:
    return (
        record.one_copy is None
        and position.number in record.in_sync
        and position.replication_id == record.replication_id
    )


class Node(Protocol):
    """One server of a store."""

    name: str
    number: int
    directory: Path
    process: ChildProcess | None

    @property
    def is_running(self) -> bool: ...

    @property
    def has_data(self) -> bool:
        """Raises OSError when the directory can't be read."""
        ...

    @property
    def pid(self) -> int | None: ...

    def retire_data(self) -> None:
        """Put what is left of its data aside, for whoever wants to compare it. Raises OSError."""
        ...

    async def answers_at_all(self) -> bool:
        """Does its process react, were it by an error? A frozen one does not."""
        ...

    async def kill(self) -> None:
        """End it and all it started, frozen or not; nothing of it lives on return."""
        ...


class StoreCopies(Protocol):
    """What is done to the two copies of one store, whichever store it is."""

    name: str
    """As commands name it: postgres, redis."""
    file: CopiesFile

    def primary(self) -> Node: ...

    def secondary(self) -> Node: ...

    def has_data(self, node: Node) -> bool:
        """Has it data to start on? Raises OSError when the directory can't be read."""
        ...

    async def start_primary(self) -> None:
        """Start it in place, and wait until it takes work. Raises LocalFault."""
        ...

    async def start_secondary(self) -> None:
        """Start it in place, and wait until it answers. Raises LocalFault."""
        ...

    async def rebuild_secondary(self) -> None:
        """Throw its data away and copy the primary anew, until in step. Raises LocalFault."""
        ...

    async def look(self) -> bool:
        """Whether the second copy is connected now; marks it as in sync when it is.

        False too when the primary does not answer.
        """
        ...

    async def position(self, node: Node) -> Position:
        """How much this copy holds. Raises PromotionRefused when it can't say, or is being copied."""
        ...

    async def promote(self, position: Position) -> None:
        """Make that copy the primary. The old primary is dead and its data set aside on return."""
        ...
