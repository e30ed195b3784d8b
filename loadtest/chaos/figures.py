"""What the faults did, in figures: outage, recovery, latency, unknowns. Pure: from records alone."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from loadtest.bench.statistics import percentile
from loadtest.chaos.recording import BEGIN, END, FaultLine
from loadtest.chaos.sampling import Sample

NS = 1_000_000_000

# Before a fault: what it is held against.
PRIOR_NS = 5 * NS
# A window of requests, moved on by a quarter of itself.
WINDOW_NS = NS
STEP_NS = NS // 4
# A request that was served later than this does not count as served in time. Those that ask to be held
# ask for 3 s, and some of them wait for an outcome that takes longer.
IN_TIME_NS = NS
IN_TIME_HELD_NS = 4 * NS
RECOVERED_SHARE = 0.95
# What happens so long after a fault's end is not its doing any more.
AFTER_NS = 30 * NS


class Request(NamedTuple):
    """One POST as its client saw it."""

    sent_ns: int
    ended_ns: int
    is_served: bool
    """Answered by the business: anything but a time-out, a reset, a 5xx or a 429."""
    is_held: bool = False
    """Whether its answer was asked to wait for the outcome."""
    is_refused: bool = False
    """Served by a refusal of the request itself, which takes no store."""

    @property
    def took_ns(self) -> int:
        return self.ended_ns - self.sent_ns

    @property
    def is_in_time(self) -> bool:
        return self.is_served and self.took_ns <= (IN_TIME_HELD_NS if self.is_held else IN_TIME_NS)


class FaultFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One fault that was made."""

    number: int
    cell: str
    begin_s: float
    """Since the run began."""
    end_s: float
    sent: int
    """Requests sent from its begin until its effects were over."""
    failed: int
    outage_s: float
    """From the first request that failed to the last; 0 when none did."""
    accept_gap_s: float
    """The longest time in which no payment was accepted, repeated or declined."""
    recovery_s: float | None
    """From its begin until 95 % of what was served before was served in time again; None: never."""
    p99_ms: float | None
    """Of requests that were sent while it lasted and served, without those that asked to be held."""
    held_p99_ms: float | None
    """Of those that asked to be held for the outcome."""
    settle_gap_s: float
    """The longest time in which no order settled."""
    unowned_s: float
    """How long partitions had no host that runs."""
    unknown_peak: int
    detail: Mapping[str, Any] = {}


class Run(NamedTuple):
    """What the figures are made of. Requests in the order in which they were sent."""

    started_ns: int
    requests: Sequence[Request]
    samples: Sequence[Sample]
    partition_count: int


def figures_of(run: Run, lines: Sequence[FaultLine]) -> list[FaultFigures]:
    """Return the figures of each fault that was made, in the order of their begins."""
    begins = sorted((line for line in lines if line.phase == BEGIN), key=lambda line: line.at_ns)
    ends = {line.number: line for line in lines if line.phase == END}
    sent_at = [request.sent_ns for request in run.requests]
    found: list[FaultFigures] = []
    for index, begin in enumerate(begins):
        end = ends.get(begin.number)
        end_ns = begin.at_ns if end is None else end.at_ns
        until_ns = end_ns + AFTER_NS
        if index + 1 < len(begins):
            # The next fault's doing is the next fault's; unless both last at one time.
            until_ns = min(until_ns, max(begins[index + 1].at_ns, end_ns))
        detail = {**begin.detail, **({} if end is None else end.detail)}
        found.append(_one(run, sent_at, begin, (end_ns, until_ns), detail))
    return found


def _one(
    run: Run,
    sent_at: Sequence[int],
    begin: FaultLine,
    until: tuple[int, int],
    detail: Mapping[str, Any],
) -> FaultFigures:
    end_ns, until_ns = until
    requests = run.requests[bisect_left(sent_at, begin.at_ns) : bisect_left(sent_at, until_ns)]
    failed = [request for request in requests if not request.is_served]
    during = [request for request in requests if request.sent_ns <= end_ns and request.is_served]
    # One more on each side: a gap may begin before the fault's first sample.
    # And none from after the load: what then settles last waits for its PSP, not for us.
    looked_until_ns = min(until_ns, sent_at[-1]) if sent_at else until_ns
    samples = [s for s in run.samples if begin.at_ns - NS <= s.at_ns <= looked_until_ns]
    return FaultFigures(
        number=begin.number,
        cell=begin.cell,
        begin_s=_seconds(begin.at_ns - run.started_ns),
        end_s=_seconds(end_ns - run.started_ns),
        sent=len(requests),
        failed=len(failed),
        outage_s=_outage_s(failed),
        accept_gap_s=accept_gap_s(requests, begin.at_ns, until_ns),
        recovery_s=recovery_s(run, sent_at, begin.at_ns, until_ns),
        p99_ms=p99_ms(during, is_held=False),
        held_p99_ms=p99_ms(during, is_held=True),
        settle_gap_s=settle_gap_s(samples),
        unowned_s=unowned_s(samples, run.partition_count),
        unknown_peak=max((sample.unknown for sample in samples), default=0),
        detail=detail,
    )


def p99_ms(served: Sequence[Request], *, is_held: bool) -> float | None:
    """The 99th percentile of the latencies of those that were, or were not, held; None of none."""
    latencies_ns = sorted(one.took_ns for one in served if one.is_held is is_held)
    return percentile(latencies_ns, 99, unit=1e-6)


def _outage_s(failed: Sequence[Request]) -> float:
    if not failed:
        return 0.0
    return _seconds(max(request.ended_ns for request in failed) - failed[0].sent_ns)


def accept_gap_s(requests: Sequence[Request], begin_ns: int, until_ns: int) -> float:
    """The longest time between two answers that took a store, of requests sent between those times."""
    if not requests:
        return 0.0
    # Where the load ends, nobody waits for an answer any more.
    until_ns = min(until_ns, requests[-1].sent_ns)
    accepted = (one for one in requests if one.is_served and not one.is_refused)
    answers = sorted(one.ended_ns for one in accepted if one.ended_ns < until_ns)
    times_ns = [begin_ns, *answers, max(begin_ns, until_ns)]
    return _seconds(max(later - sooner for sooner, later in itertools.pairwise(times_ns)))


def recovery_s(run: Run, sent_at: Sequence[int], begin_ns: int, until_ns: int) -> float | None:
    """Seconds from the begin until the last window in which too few were served in time.

    The load is open-loop, so what is compared is the share of requests that are served in time.
    None when the last window of all is one with too few.
    """

    def share(from_ns: int, to_ns: int) -> float | None:
        window = run.requests[bisect_left(sent_at, from_ns) : bisect_left(sent_at, to_ns)]
        if not window:
            return None
        return sum(request.is_in_time for request in window) / len(window)

    # What was not sent can't be judged.
    until_ns = min(until_ns, sent_at[-1] if sent_at else begin_ns)
    prior = share(begin_ns - PRIOR_NS, begin_ns)
    wanted = RECOVERED_SHARE * (1.0 if prior is None else prior)
    recovered_ns = begin_ns
    at_ns = begin_ns
    while at_ns + WINDOW_NS <= until_ns:
        seen = share(at_ns, at_ns + WINDOW_NS)
        if seen is not None and seen < wanted:
            recovered_ns = at_ns + WINDOW_NS
        at_ns += STEP_NS
    if recovered_ns + STEP_NS > until_ns and recovered_ns > begin_ns:
        return None
    return _seconds(recovered_ns - begin_ns)


def settle_gap_s(samples: Sequence[Sample]) -> float:
    """The longest time between two looks that saw more settled than any before."""
    longest_ns = 0
    settled, since_ns = -1, 0
    for sample in samples:
        if sample.settled > settled or sample.open == 0:
            if settled >= 0:
                longest_ns = max(longest_ns, sample.at_ns - since_ns)
            settled, since_ns = max(settled, sample.settled), sample.at_ns
    if samples:
        longest_ns = max(longest_ns, samples[-1].at_ns - since_ns)
    return _seconds(longest_ns)


def unowned_s(samples: Sequence[Sample], partition_count: int) -> float:
    """How long, all in all, looks saw partitions without a host that runs."""
    total_ns = 0
    for one, following in itertools.pairwise(samples):
        if one.owned < partition_count:
            total_ns += following.at_ns - one.at_ns
    return _seconds(total_ns)


def _seconds(nanoseconds: int) -> float:
    return round(nanoseconds / NS, 3)
