"""One measured stretch of time: what processes and stores did between its two ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from loadtest.bench.figures import GENERATOR, Figures
from loadtest.bench.generator.job import LoadResult
from loadtest.bench.processes import Meter
from loadtest.bench.stack import BenchStack
from loadtest.bench.stores import Counters, not_strict

SERVER = "server"
"""The role of a baseline's own processes."""


@dataclass(slots=True)
class Reading:
    """Filled when the stretch has ended."""

    meter: Meter
    cpu_s: dict[str, float] = field(default_factory=dict)
    pss_peak_bytes: dict[str, int] = field(default_factory=dict)
    wal_bytes: int = 0
    aof_bytes: int | None = None
    fsyncs: dict[str, int | None] = field(default_factory=dict)
    lax: list[str] = field(default_factory=list)
    durability: dict[str, Any] = field(default_factory=dict)

    def note_generator(self, pid: int) -> None:
        """Watch the generator's memory; it tells its CPU time itself, because it ends first."""
        self.meter.add(pid, GENERATOR)

    def figures(
        self,
        *,
        payments: int,
        seconds: float,
        p50_ms: float | None,
        p99_ms: float | None,
        latency_of: str,
        verify: dict[str, Any],
        loaded: LoadResult | None = None,
        detail: dict[str, Any] | None = None,
    ) -> Figures:
        """What the stretch says about so many payments in so many seconds."""
        cpu_s = dict(self.cpu_s)
        void = list(self.lax)
        if loaded is not None:
            cpu_s[GENERATOR] = loaded.cpu_s
            void += [f"{count} answers {status}" for status, count in loaded.refused.items()]
        if not verify["ok"]:
            void.append("the books are not right")
        if payments == 0:
            void.append("no payment came through")
        count = max(1, payments)
        return Figures(
            rate_per_s=round(payments / seconds, 1),
            p50_ms=p50_ms,
            p99_ms=p99_ms,
            latency_of=latency_of,
            payments=payments,
            seconds=round(seconds, 3),
            cpu_s_per_payment={role: round(spent / count, 7) for role, spent in cpu_s.items()},
            pss_peak_bytes=self.pss_peak_bytes,
            wal_bytes_per_payment=round(self.wal_bytes / count, 1),
            aof_bytes_per_payment=(
                None if self.aof_bytes is None else round(self.aof_bytes / count, 1)
            ),
            fsyncs=self.fsyncs,
            answers={} if loaded is None else loaded.answers,
            verify=verify,
            void=void,
            detail=detail or {},
        )


@asynccontextmanager
async def measured(
    stack: BenchStack, extra_roles: Mapping[int, str] | None = None
) -> AsyncIterator[Reading]:
    """Measure what is done inside. Durability is read back at the end, from the servers. Raises BenchFailed."""
    stores = stack.stores
    reading = Reading(Meter({**stack.roles(), **(extra_roles or {})}))
    await stores.rewrite_append_only_files()
    before = await stores.counters()
    reading.meter.start()
    yield reading
    reading.cpu_s, reading.pss_peak_bytes = await reading.meter.stop()
    _note_counters(reading, before, await stores.counters())
    reading.durability = await stores.durability()
    reading.lax = not_strict(reading.durability)


def _note_counters(reading: Reading, before: Counters, after: Counters) -> None:
    reading.wal_bytes = after.wal_bytes - before.wal_bytes
    if after.aof_rewrites == before.aof_rewrites and after.aof_bytes >= before.aof_bytes:
        reading.aof_bytes = after.aof_bytes - before.aof_bytes
    reading.fsyncs = {
        name: _difference(count, before.fsyncs[name]) for name, count in after.fsyncs.items()
    }


def _difference(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else after - before
