"""``python -m loadtest.bench.generator``: one job as JSON on stdin, its result as JSON on stdout."""

from __future__ import annotations

import asyncio
import resource
import sys
import time

import msgspec
import uvloop

from loadtest.bench.generator.connection import NO_ANSWER, Connection, Observed
from loadtest.bench.generator.job import Latencies, LoadJob, LoadResult
from loadtest.bench.generator.requests import Requests
from loadtest.bench.statistics import percentile

# Held requests end within 30 s; what is open long after that has no answer.
_ANSWER_S_MAX = 45.0


async def generate(job: LoadJob) -> LoadResult:
    """Open the connections, then load for the job's time, then wait for the last answers."""
    loop = asyncio.get_running_loop()
    requests = Requests(job)
    observed = Observed(until_s=float("inf"), requests_max=job.requests_max)
    connections: list[Connection] = []
    for index in range(job.connection_count):
        _, connection = await loop.create_connection(
            lambda index=index: Connection(  # type: ignore[misc]
                requests, observed, held_every=job.held_every, offset=index
            ),
            job.host,
            job.port,
        )
        connections.append(connection)
    cpu_before_s = _cpu_s()
    first_sent_s = time.monotonic()
    observed.until_s = first_sent_s + job.seconds
    for connection in connections:
        connection.begin()
    ends = [connection.ended for connection in connections]
    await asyncio.wait(ends, timeout=job.seconds + _ANSWER_S_MAX)
    cpu_s = _cpu_s() - cpu_before_s
    await asyncio.gather(*(connection.close() for connection in connections))
    answers = {status.decode(): count for status, count in observed.statuses.items()}
    if observed.lost_count:
        answers[NO_ANSWER] = observed.lost_count
    return LoadResult(
        first_sent_s=first_sent_s,
        last_answer_s=observed.last_answer_s or time.monotonic(),
        answers=answers,
        at_once=_latencies(observed.at_once_s),
        held=_latencies(observed.held_s),
        cpu_s=cpu_s,
    )


def _latencies(seconds: list[float]) -> Latencies:
    seconds.sort()
    return Latencies(
        count=len(seconds),
        p50_ms=percentile(seconds, 50, unit=1_000),
        p99_ms=percentile(seconds, 99, unit=1_000),
    )


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Do one job."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=LoadJob)
    result = uvloop.run(generate(job))
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
