"""Waiting for several things at once, and for every partition to have an owner."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from ops.local.faults import LocalFault
from ops.stack.services import Service
from runtime.faults import StorageUnavailable
from storage.intent import IntentStore
from storage.read_pool import ReadPool
from storage.status import HostStatus, StatusQueries

OWNERS_TIMEOUT_S = 60.0
# Killing and reaping a tool, or giving a session up, takes less than this.
CANCEL_AGAIN_S = 2.0
_LOOK_EVERY_S = 0.2
_OTHERS_TIMEOUT_S = 10.0
# Hosts raise their counter every 0.4 s: one that did within this is alive.
_FRESH_S = 1.5


class PartitionsUnowned(LocalFault):
    """Some partitions got no owner: their orders would wait for ever."""

    def __init__(self, missing_count: int, reason: str) -> None:
        super().__init__(
            f"{missing_count} partitions have no owner after {OWNERS_TIMEOUT_S:.0f} s{reason}. "
            "See the hosts' logs: logs/host-*.log, or logs/ray/worker-*.err"
        )
        self.missing_count = missing_count


class Owners:
    """Who owns what, told apart from what the dead left behind: their counters stand still."""

    def __init__(self) -> None:
        self._counters: dict[object, int] = {}
        self._rose_at_s: dict[object, float] = {}
        self._seen_at_s: dict[object, float] = {}

    def look(self, hosts: Sequence[HostStatus], now_s: float) -> dict[str, Sequence[int]]:
        """The partitions of each living host, by its name; the living include those that own none."""
        living: dict[str, Sequence[int]] = {}
        for host in hosts:
            before = self._counters.get(host.incarnation)
            if before is not None and host.counter > before:
                self._rose_at_s[host.incarnation] = now_s
            self._counters[host.incarnation] = host.counter
            self._seen_at_s.setdefault(host.incarnation, now_s)
            rose_at_s = self._rose_at_s.get(host.incarnation)
            if rose_at_s is not None and now_s - rose_at_s < _FRESH_S:
                living[host.host_name] = host.partition_indexes
        return living

    def has_judged(self, now_s: float) -> bool:
        """Whether every host seen so far showed that it lives, or had the time to: one look can't tell."""
        return all(
            incarnation in self._rose_at_s or now_s - seen_at_s >= _FRESH_S
            for incarnation, seen_at_s in self._seen_at_s.items()
        )


async def wait_for_owners(pool: ReadPool, partition_count: int, *, default_host_count: int) -> None:
    """Return once living hosts own every partition, and as many live as shall.

    The first host may own everything before the others have started; those are waited for a little
    and no longer, since payments go on without them. Raises PartitionsUnowned.
    """
    queries, intents = StatusQueries(pool), IntentStore(pool)
    owners = Owners()
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + OWNERS_TIMEOUT_S
    owned_at_s: float | None = None
    missing_count, reason = partition_count, ""
    while loop.time() < deadline_s:
        try:
            living = owners.look(await queries.hosts(), loop.time())
            missing_count, reason = partition_count - sum(map(len, living.values())), ""
            wished = (await intents.read()).host_count
            are_all_here = len(living) >= (default_host_count if wished is None else wished)
        except StorageUnavailable as unavailable:
            reason, are_all_here = f" ({unavailable.reason})", False
            missing_count = missing_count or partition_count  # what was so is not known now
        if missing_count:
            owned_at_s = None
        else:
            owned_at_s = loop.time() if owned_at_s is None else owned_at_s
            if are_all_here or loop.time() - owned_at_s >= _OTHERS_TIMEOUT_S:
                return
        await asyncio.sleep(_LOOK_EVERY_S)
    if missing_count == 0:
        return
    raise PartitionsUnowned(missing_count, reason)


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Do all at once; the first failure ends the others, and is raised as itself.

    No TaskGroup: that asks its tasks to end once, and waits for ever for one that lost the request (see ``canceled``).
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await canceled(*tasks)
    for task in done:
        task.result()


async def canceled(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for their end; ask again where it does not come.

    One request can get lost: `asyncio.wait_for` of Python 3.11 drops it when what it waits for is done in
    that very turn of the loop, and so may a library. A watch that lost it would go on for ever, and the
    daemon with it. Whoever is canceled meanwhile still sees them end first.
    """
    pending = {task for task in tasks if not task.done()}
    is_asked = False
    while pending:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
        except asyncio.CancelledError:
            is_asked = True
        pending = {task for task in pending if not task.done()}
    for task in tasks:
        if not task.cancelled():
            task.exception()  # or the loop would complain that nobody looked at it
    if is_asked:
        raise asyncio.CancelledError


class ServiceDied(LocalFault):
    """A service ended while the stack started; the text has the end of its log."""


async def together_with_death(work: Coroutine[Any, Any, None], services: Sequence[Service]) -> None:
    """Do the work, unless a service dies meanwhile: then raise ServiceDied at once."""

    async def first_death() -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            for service in services:
                if not service.is_alive():
                    raise ServiceDied(service.describe_death())

    watch = asyncio.create_task(first_death())
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task, watch], return_when=asyncio.FIRST_COMPLETED)
        (watch if watch.done() else task).result()
    finally:
        await canceled(watch, task)
