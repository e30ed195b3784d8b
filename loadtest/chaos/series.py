"""A run second by second, for charts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadtest.chaos.figures import NS, Request, Run, p99_ms


def series_of(run: Run, ended_ns: int) -> dict[str, list[Any]]:
    """Return what was sent, served, failed and settled in each second, with latency and unknowns."""
    count = max(1, -(-(ended_ns - run.started_ns) // NS))
    sent: list[list[Request]] = [[] for _ in range(count)]
    for request in run.requests:
        index = (request.sent_ns - run.started_ns) // NS
        if 0 <= index < count:
            sent[index].append(request)
    settled: list[int | None] = [None] * count
    unknown: list[int | None] = [None] * count
    for sample in run.samples:
        index = (sample.at_ns - run.started_ns) // NS
        if 0 <= index < count:
            settled[index], unknown[index] = sample.settled, sample.unknown
    return {
        "second": list(range(count)),
        "served_per_s": [sum(request.is_served for request in one) for one in sent],
        "failed_per_s": [sum(not request.is_served for request in one) for one in sent],
        "settled_per_s": _changes(settled),
        "p99_ms": [_p99_ms(one) for one in sent],
        "unknown": unknown,
    }


def _p99_ms(requests: Sequence[Request]) -> float | None:
    return p99_ms([request for request in requests if request.is_served], is_held=False)


def _changes(totals: Sequence[int | None]) -> list[float | None]:
    """The growth a second; what came while nobody could look is spread over that time."""
    changes: list[float | None] = [None] * len(totals)
    last: tuple[int, int] | None = None
    for index, total in enumerate(totals):
        if total is None:
            continue
        if last is not None:
            seconds = index - last[0]
            for between in range(last[0] + 1, index + 1):
                changes[between] = round((total - last[1]) / seconds, 1)
        last = (index, total)
    return changes
