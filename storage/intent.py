"""What the operator wants: rows that the command line writes, and supervisor and hosts read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from payments.defects import InvariantViolation
from storage.read_pool import ReadPool
from storage.sql_files import load_statements

_HOST_COUNT = "host_count"
_DRAIN = "drain:"
_PAUSE = "pause:"

_PARTITION = re.compile(r"[0-9]{1,5}", re.ASCII)

_SQL = load_statements("directory.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """The whole of it at one moment."""

    host_count: int | None = None
    """How many partition hosts shall run; None as long as nobody has said."""
    drains: frozenset[str] = frozenset()
    """Names of hosts that shall give their partitions up and take no new ones."""
    pauses: frozenset[int] = frozenset()
    """Partitions that nobody shall serve."""


class IntentStore:
    """Reads intents, and writes them one by one, each with its audit row."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def read(self) -> Intent:
        """Return what is wanted now. Raises StorageUnavailable."""
        rows = await self._pool.fetch(_SQL["intents"])
        return parse_intents((row["key"], row["value"]) for row in rows)

    async def set_host_count(self, host_count: int, *, actor: str) -> None:
        """Want that many hosts; 0 stops them all. Raises StorageUnavailable."""
        if host_count < 0:
            raise InvariantViolation(f"host_count={host_count} must not be negative")
        await self._set(_HOST_COUNT, host_count, actor)

    async def set_drain(self, host_name: str, *, is_wanted: bool, actor: str) -> None:
        """Want a host to be drained, or no longer. Raises StorageUnavailable."""
        await self._set(f"{_DRAIN}{host_name}", is_wanted, actor)

    async def set_pause(self, partition_index: int, *, is_wanted: bool, actor: str) -> None:
        """Want a partition to rest, or no longer. Raises StorageUnavailable."""
        await self._set(f"{_PAUSE}{partition_index}", is_wanted, actor)

    async def _set(self, key: str, value: int | bool, actor: str) -> None:
        await self._pool.write(_SQL["set_intent"], key, json.dumps(value), actor)


def parse_intents(rows: Iterable[tuple[str, str]]) -> Intent:
    """Return the intent that rows of (key, JSON text) say.

    Keys of a later version are left out; a value of the wrong kind under a key of ours is a defect.
    """
    host_count: int | None = None
    drains: set[str] = set()
    pauses: set[int] = set()
    for key, text in rows:
        value: object = json.loads(text)
        if key == _HOST_COUNT:
            if type(value) is not int or value < 0:
                raise InvariantViolation(f"intent {key} is {text}, no count")
            host_count = value
        elif key.startswith(_DRAIN):
            if _flag(key, value):
                drains.add(key.removeprefix(_DRAIN))
        elif key.startswith(_PAUSE):
            partition = key.removeprefix(_PAUSE)
            if _PARTITION.fullmatch(partition) is None:
                raise InvariantViolation(f"intent {key} names no partition")
            if _flag(key, value):
                pauses.add(int(partition))
    return Intent(host_count=host_count, drains=frozenset(drains), pauses=frozenset(pauses))


def _flag(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvariantViolation(f"intent {key} is {value!r}, neither true nor false")
    return value
