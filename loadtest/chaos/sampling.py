"""Looking at the books a few times a second: what settled, what is unknown, who owns the partitions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from importlib import resources

import msgspec

from loadtest.chaos.proc import is_running
from loadtest.chaos.stack import ChaosStack
from runtime.faults import StorageUnavailable
from storage.sql_files import parse_statements
from storage.status import HostStatus, StatusQueries

EVERY_S = 0.2
# Where one fault is held against a goal of seconds.
OFTEN_S = 0.1
# Longer than a healthy answer by far; a store that is away must not stop the looking.
ANSWER_TIMEOUT_S = 1.0

_SQL = parse_statements(
    resources.files("loadtest.chaos").joinpath("sql", "chaos.sql").read_text(encoding="utf-8")
)


class Sample(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One look. Counts are since the stack's first start."""

    at_ns: int
    taken_in: int
    open: int
    unknown: int
    owned: int
    """Partitions of hosts whose process runs: neither dead nor frozen."""

    @property
    def settled(self) -> int:
        return self.taken_in - self.open


class Unknowns:
    """When each order became unknown, and when it was resolved; to within one look."""

    def __init__(self) -> None:
        self._since_ns: dict[int, int] = {}
        self.resolved: list[tuple[int, int]] = []
        """(since, until) of each order that is known again, in nanoseconds."""

    def look(self, ids: set[int], at_ns: int) -> None:
        """Note which orders are unknown now."""
        for order in [order for order in self._since_ns if order not in ids]:
            self.resolved.append((self._since_ns.pop(order), at_ns))
        for order in ids:
            self._since_ns.setdefault(order, at_ns)

    @property
    def unresolved_since_ns(self) -> list[int]:
        """Since when each order that is still unknown has been so."""
        return sorted(self._since_ns.values())


class Sampler:
    """Looks until it is stopped. While Postgres does not answer there are no samples: gaps speak, too."""

    def __init__(self, stack: ChaosStack, every_s: float = EVERY_S) -> None:
        self._stack = stack
        self._every_s = every_s
        self._queries = StatusQueries(stack.pool)
        self.samples: list[Sample] = []
        self.unknowns = Unknowns()
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._looking = asyncio.create_task(self._keep_looking())

    async def stop(self) -> None:
        """End."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def look(self) -> Sample | None:
        """One look, which is kept; None when the primary does not answer."""
        pool = self._stack.pool
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                row = await pool.fetchrow(_SQL["progress"])
                ids = {int(item["id"]) for item in await pool.fetch(_SQL["unknown"])}
                hosts = await self._queries.hosts()
        except (StorageUnavailable, TimeoutError):
            return None
        if row is None:
            return None
        at_ns = time.monotonic_ns()
        self.unknowns.look(ids, at_ns)
        sample = Sample(
            at_ns=at_ns,
            taken_in=row["taken_in"] or 0,
            open=row["open"],
            unknown=len(ids),
            owned=owned_count(hosts),
        )
        self.samples.append(sample)
        return sample

    async def _keep_looking(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._every_s)


def owned_count(hosts: Sequence[HostStatus]) -> int:
    """How many partitions belong to hosts that run. All of them are on this machine."""
    return sum(len(host.partition_indexes) for host in hosts if is_running(host.pid))
