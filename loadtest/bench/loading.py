"""Running the generator as a process, from the benchmark's own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import msgspec

from loadtest.bench.faults import BenchFailed
from loadtest.bench.generator.job import LoadJob, LoadResult


async def load(job: LoadJob, on_started: Callable[[int], None] | None = None) -> LoadResult:
    """Do one job in a process of its own; ``on_started`` is told its pid. Raises BenchFailed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "loadtest.bench.generator"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    if on_started is not None:
        on_started(process.pid)
    out, err = await process.communicate(msgspec.json.encode(job))
    if process.returncode != 0:
        raise BenchFailed(f"the generator failed: {err.decode(errors='replace')[-2_000:]}")
    return msgspec.json.decode(out, type=LoadResult)
