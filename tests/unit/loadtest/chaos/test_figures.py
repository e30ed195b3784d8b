"""Figures of faults, from records whose truth is known."""

from __future__ import annotations

import msgspec
import pytest

from loadtest.chaos.figures import NS, Request, Run, figures_of, recovery_s, settle_gap_s, unowned_s
from loadtest.chaos.goals import goals_of
from loadtest.chaos.recording import BEGIN, END, FaultLine
from loadtest.chaos.requests import _Event, requests_from
from loadtest.chaos.sampling import Sample, Unknowns
from loadtest.chaos.series import series_of

MS = NS // 1_000
CELL = "kill/host/under_load"


def steady(seconds: float, *, failing: tuple[float, float] = (0.0, 0.0)) -> list[Request]:
    """Fifty requests a second, each served in 10 ms; those sent within ``failing`` fail after 2 s."""
    requests = []
    for index in range(int(seconds * 50)):
        sent_ns = index * 20 * MS
        is_failing = failing[0] * NS <= sent_ns < failing[1] * NS
        took_ns = 2 * NS if is_failing else 10 * MS
        requests.append(
            Request(sent_ns=sent_ns, ended_ns=sent_ns + took_ns, is_served=not is_failing)
        )
    return requests


def sample(second: float, *, settled: int, opened: int = 1, owned: int = 16) -> Sample:
    return Sample(
        at_ns=int(second * NS), taken_in=settled + opened, open=opened, unknown=0, owned=owned
    )


def line(second: float, phase: str, number: int = 1, cell: str = CELL) -> FaultLine:
    return FaultLine(at_ns=int(second * NS), cell=cell, phase=phase, number=number)


def run_of(requests: list[Request], samples: list[Sample] | None = None) -> Run:
    return Run(started_ns=0, requests=requests, samples=samples or [], partition_count=16)


def test_an_outage_is_from_the_first_failure_to_the_last() -> None:
    """Requests sent from 10 s to 13 s fail, the last of them at 14.98 s: 4.98 s without service."""
    run = run_of(steady(60.0, failing=(10.0, 13.0)))
    (one,) = figures_of(run, [line(10.0, BEGIN), line(12.0, END)])
    assert one.failed == 150
    assert one.outage_s == pytest.approx(4.98)
    assert one.begin_s == 10.0
    assert one.end_s == 12.0


def test_recovery_is_when_the_share_served_in_time_is_back() -> None:
    """Served again from 13 s on: the last second with too few of them ends within a second of that."""
    requests = steady(60.0, failing=(10.0, 13.0))
    (one,) = figures_of(run_of(requests), [line(10.0, BEGIN), line(12.0, END)])
    assert one.recovery_s == pytest.approx(3.75, abs=0.26)


def test_what_never_comes_back_has_no_recovery() -> None:
    """A run that ends while nothing is served says so, and gives no number."""
    requests = steady(20.0, failing=(10.0, 20.0))
    sent_at = [request.sent_ns for request in requests]
    assert recovery_s(run_of(requests), sent_at, 10 * NS, 20 * NS) is None


def test_slow_answers_are_not_served_in_time() -> None:
    """An answer after three seconds is no outage, and is not recovered either."""
    requests = [
        request._replace(ended_ns=request.sent_ns + 3 * NS)
        if 10 * NS <= request.sent_ns < 12 * NS
        else request
        for request in steady(30.0)
    ]
    (one,) = figures_of(run_of(requests), [line(10.0, BEGIN), line(12.0, END)])
    assert one.outage_s == 0.0
    assert one.recovery_s == pytest.approx(2.75, abs=0.26)
    assert one.p99_ms == pytest.approx(3_000.0)


def test_a_fault_that_nobody_notices_costs_nothing() -> None:
    """All figures of time are zero when every request is served as before."""
    samples = [sample(second / 5, settled=second) for second in range(150)]
    (one,) = figures_of(run_of(steady(30.0), samples), [line(10.0, BEGIN), line(12.0, END)])
    assert (one.outage_s, one.recovery_s, one.failed, one.unowned_s) == (0.0, 0.0, 0, 0.0)
    assert one.settle_gap_s <= 0.21


def test_what_the_next_fault_did_is_not_this_ones() -> None:
    """Failures after the next begin count for that one alone."""
    run = run_of(steady(60.0, failing=(20.0, 21.0)))
    lines = [line(10.0, BEGIN, 1), line(12.0, END, 1), line(20.0, BEGIN, 2), line(21.0, END, 2)]
    first, second = figures_of(run, lines)
    assert first.failed == 0
    assert second.failed == 50


def test_faults_that_overlap_both_see_their_time() -> None:
    """One that lasts while another begins is judged to its own end."""
    run = run_of(steady(60.0, failing=(20.0, 21.0)))
    lines = [line(10.0, BEGIN, 1), line(15.0, BEGIN, 2), line(16.0, END, 2), line(25.0, END, 1)]
    first, _ = figures_of(run, lines)
    assert first.failed == 50


def test_a_gap_in_settling_is_seen_even_where_nobody_could_look() -> None:
    """Whether looks saw no growth or were not answered at all: it is the time without growth."""
    growing = [sample(second / 5, settled=second) for second in range(50)]
    stopped = [sample(10.0 + second / 5, settled=49) for second in range(20)]
    back = [sample(14.0 + second / 5, settled=50 + second) for second in range(20)]
    assert settle_gap_s([*growing, *stopped, *back]) == pytest.approx(4.2, abs=0.01)
    assert settle_gap_s([*growing, *back]) == pytest.approx(4.2, abs=0.01)


def test_with_nothing_open_nothing_has_to_settle() -> None:
    """A stack at rest has no gap."""
    assert settle_gap_s([sample(second, settled=5, opened=0) for second in range(10)]) == 1.0


def test_partitions_without_a_host_are_timed() -> None:
    """From the look that saw one missing to the look that saw all."""
    samples = [
        sample(0, settled=1),
        sample(1, settled=1, owned=8),
        sample(2, settled=1, owned=15),
        sample(3, settled=1),
        sample(4, settled=1),
    ]
    assert unowned_s(samples, 16) == 2.0


def test_unknown_orders_are_timed_one_by_one() -> None:
    """Each from the look that saw it first to the look that did not see it any more."""
    unknowns = Unknowns()
    for second, ids in enumerate([{1}, {1, 2}, {2, 3}, {3}, {3}]):
        unknowns.look(ids, second * NS)
    assert sorted(unknowns.resolved) == [(0, 2 * NS), (NS, 3 * NS)]
    assert unknowns.unresolved_since_ns == [2 * NS]


def test_events_become_requests() -> None:
    """A 402 or a 409 is an answer; a 503, a 429 and silence are not; reads and open ends don't count."""
    events = [_Event(op=op, type="invoke", at_ns=op) for op in range(1, 8)]
    ends = [
        _Event(op=1, type="ok", at_ns=11, status=202),
        _Event(op=2, type="ok", at_ns=12, status=402),
        _Event(op=3, type="fail", at_ns=13, status=409),
        _Event(op=4, type="info", at_ns=14, status=503),
        _Event(op=5, type="fail", at_ns=15, status=429),
        _Event(op=6, type="info", at_ns=16),
        _Event(op=8, type="invoke", at_ns=8, kind="get"),
        _Event(op=8, type="ok", at_ns=18, status=200),
    ]
    assert [request.is_served for request in requests_from([*events, *ends])] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def test_goals_are_held_against_the_figures() -> None:
    """A host's partitions were without an owner for 2 s of 3; a recovery that never came is not met."""
    samples = [
        sample(second, settled=second, owned=8 if 10 <= second < 12 else 16) for second in range(30)
    ]
    (one,) = figures_of(run_of(steady(30.0), samples), [line(10.0, BEGIN), line(11.0, END)])
    goals = goals_of("host", one)
    assert goals["unowned_s"] == {"seen_s": 2.0, "bound_s": 3.0, "met": True}
    (never,) = figures_of(run_of(steady(20.0, failing=(10.0, 20.0))), [line(10.0, BEGIN)])
    assert goals_of("host", never)["recovery_s"]["met"] is False


def test_what_waits_for_its_query_after_the_load_is_no_gap() -> None:
    """The last request is sent at 20 s, and one order stays open until its PSP is asked again."""
    samples = [sample(second, settled=min(second, 20)) for second in range(40)]
    (one,) = figures_of(run_of(steady(20.0), samples), [line(10.0, BEGIN), line(11.0, END)])
    assert one.settle_gap_s == 1.0


def test_goals_of_one_fault_alone_lie_in_its_detail() -> None:
    """What only Ray's control service has is judged, too; and what was never seen is not met."""
    samples = [sample(second, settled=second) for second in range(30)]
    (one,) = figures_of(run_of(steady(30.0), samples), [line(10.0, BEGIN), line(11.0, END)])
    seen = {"hosts_lost": 0, "scales_after_s": 21.5}
    goals = goals_of("gcs", msgspec.structs.replace(one, detail=seen))
    assert goals["hosts_lost"]["met"] is True
    assert goals["scales_after_s"] == {"seen_s": 21.5, "bound_s": 20.0, "met": False}
    assert goals_of("gcs", one)["scales_after_s"]["met"] is False


def test_a_run_is_told_second_by_second() -> None:
    """Served and failed by the second of the sending; settled as growth, spread over blind seconds."""
    samples = [sample(0.5, settled=10), sample(1.5, settled=20), sample(4.5, settled=50)]
    series = series_of(run_of(steady(5.0, failing=(2.0, 3.0)), samples), 5 * NS)
    assert series["second"] == [0, 1, 2, 3, 4]
    assert series["served_per_s"] == [50, 50, 0, 50, 50]
    assert series["failed_per_s"] == [0, 0, 50, 0, 0]
    assert series["settled_per_s"] == [None, 10.0, 10.0, 10.0, 10.0]
    assert series["p99_ms"][0] == 10.0
    assert series["p99_ms"][2] is None


def test_a_gap_in_accepting_is_the_longest_time_without_an_answer() -> None:
    """Two outages with a second of service between them are one outage of 6 s, and two gaps of 2.5 s."""
    requests = [
        Request(one.sent_ns, one.ended_ns, one.is_served and not 13 * NS <= one.sent_ns < 15.5 * NS)
        for one in steady(60.0, failing=(10.0, 12.5))
    ]
    (one,) = figures_of(run_of(requests), [line(10.0, BEGIN), line(12.0, END)])
    assert one.outage_s > 5.0
    assert one.accept_gap_s == pytest.approx(2.5, abs=0.05)


def test_a_fault_that_nobody_notices_leaves_no_gap() -> None:
    """With fifty answers a second, the longest time between two of them is a fiftieth."""
    (one,) = figures_of(run_of(steady(60.0)), [line(10.0, BEGIN), line(12.0, END)])
    assert one.accept_gap_s == pytest.approx(0.02, abs=0.011)


def test_who_asks_to_be_held_is_not_late() -> None:
    """An answer after 3 s was asked for by some, and is late for the others; each has its own p99."""
    requests = steady(60.0)
    held = [Request(one.sent_ns, one.sent_ns + 3 * NS, True, is_held=True) for one in requests[::4]]
    (one,) = figures_of(run_of(sorted([*requests, *held])), [line(10.0, BEGIN), line(12.0, END)])
    assert one.recovery_s == 0.0
    assert (one.p99_ms, one.held_p99_ms) == (10.0, 3_000.0)


def test_the_history_tells_who_asked_to_be_held() -> None:
    """What an invocation says of its wait is kept for its end."""
    events = [
        _Event(op=1, at_ns=1, kind="post", wait_s=3),
        _Event(op=2, at_ns=2, kind="post"),
        _Event(op=1, type="ok", at_ns=5, status=200),
        _Event(op=2, type="ok", at_ns=6, status=202),
    ]
    assert [one.is_held for one in requests_from(events)] == [True, False]


def test_what_settles_after_the_load_is_no_gap() -> None:
    """The last orders wait for an answer that is asked for every few seconds; nothing else could settle."""
    samples = [sample(second, settled=second) for second in range(31)]
    samples += [sample(second, settled=30) for second in range(31, 55)]
    run = run_of(steady(30.0), samples)
    (one,) = figures_of(run, [line(20.0, BEGIN), line(22.0, END)])
    assert one.settle_gap_s == pytest.approx(1.0)


def test_a_refusal_of_a_wrong_request_accepts_nothing() -> None:
    """A card number is refused with every store away; a declined payment was one."""
    events = [
        *(_Event(op=op, at_ns=op, kind="post") for op in (1, 2, 3)),
        _Event(op=1, type="fail", at_ns=5, status=422),
        _Event(op=2, type="ok", at_ns=6, status=402),
        _Event(op=3, type="ok", at_ns=7, status=202),
    ]
    assert [one.is_refused for one in requests_from(events)] == [True, False, False]
    refused = [one._replace(is_refused=12 * NS <= one.sent_ns < 15 * NS) for one in steady(60.0)]
    (one,) = figures_of(run_of(refused), [line(10.0, BEGIN), line(12.0, END)])
    assert one.accept_gap_s == pytest.approx(3.0, abs=0.05)
