"""From single measurements to what a benchmark says: medians, ratios, floors, slopes, judgement."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.bench.figures import Figures, cpu_ratios, floors, ratios, summary
from loadtest.bench.growth import slopes
from loadtest.bench.plan import GROUPS, RATE_FLOORS, RATIOS, RUN_NAMES, SIMULATOR, Plan
from loadtest.bench.statistics import median, percentile, slope
from loadtest.bench.stores import not_strict


def figures(rate_per_s: float, **changes: object) -> Figures:
    base = Figures(
        rate_per_s=rate_per_s,
        p50_ms=1.0,
        p99_ms=2.0,
        latency_of="POST to 202",
        payments=10,
        seconds=1.0,
        cpu_s_per_payment={"gateway": 0.001, "generator": 0.5},
        pss_peak_bytes={"gateway": 50},
        wal_bytes_per_payment=3_000.0,
        aof_bytes_per_payment=None,
        fsyncs={"postgres_primary_wal": 3},
        answers={"202": 10},
        verify={"ok": True},
        void=[],
    )
    return msgspec.structs.replace(base, **changes)


def strict() -> dict[str, Any]:
    postgres = {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "synchronous_standby_names": "ANY 1 (standby1)",
    }
    valkey = {
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "maxmemory-policy": "noeviction",
    }
    return {
        "postgres_primary": dict(postgres),
        "postgres_standby": dict(postgres),
        "postgres_standbys": [{"state": "streaming", "sync_state": "quorum"}],
        "redis_primary": dict(valkey),
        "redis_replica": dict(valkey),
        "redis_replicas_connected": 1,
    }


def test_a_strict_stack_is_not_void() -> None:
    """What `tally up` starts passes."""
    assert not_strict(strict()) == []


@pytest.mark.parametrize(
    ("server", "name", "value"),
    [
        ("postgres_primary", "fsync", "off"),
        ("postgres_primary", "full_page_writes", "off"),
        ("postgres_primary", "synchronous_commit", "local"),
        ("postgres_primary", "synchronous_standby_names", ""),
        ("postgres_standby", "fsync", "off"),
        ("redis_primary", "appendfsync", "everysec"),
        ("redis_primary", "appendonly", "no"),
        ("redis_replica", "appendfsync", "no"),
        ("redis_replica", "maxmemory-policy", "allkeys-lru"),
    ],
)
def test_each_relaxed_setting_voids_a_run(server: str, name: str, value: str) -> None:
    """A rate that was bought with durability is not counted, and the reason is named."""
    document = strict()
    document[server][name] = value
    (reason,) = not_strict(document)
    assert server in reason
    assert name in reason


def test_a_missing_copy_voids_a_run() -> None:
    """Without a synchronous standby or a replica, nothing is on two copies."""
    document = strict()
    document["postgres_standbys"] = [{"state": "streaming", "sync_state": "async"}]
    document["redis_replicas_connected"] = 0
    assert len(not_strict(document)) == 2


def test_medians_are_taken_over_repeats() -> None:
    """One slow repeat doesn't move the result, and every repeat stays visible."""
    whole = summary([figures(100.0), figures(10.0), figures(90.0, void=["answers 503"])])
    assert whole["rate_per_s"] == 90.0
    assert whole["aof_bytes_per_payment"] is None
    assert whole["is_void"] is True
    assert [one["rate_per_s"] for one in whole["repeats"]] == [100.0, 10.0, 90.0]


def test_ratios_and_floors_compare_what_was_run() -> None:
    """A ratio needs both runs; a floor is met from exactly its value on."""
    runs = {
        "noop": summary([figures(1_000.0)]),
        "accept": summary([figures(300.0, cpu_s_per_payment={"gateway": 0.004})]),
        "e2e_psp": summary([figures(1_499.9)]),
    }
    seen = ratios(runs)
    assert seen == {"accept/noop": 0.3}
    assert cpu_ratios(runs) == {"accept/noop": 0.25}
    assert floors(runs, seen, is_judged=True) == {
        "accept/noop": {"floor": 0.3, "seen": 0.3, "met": True},
        "e2e_psp.rate_per_s": {"floor": 1_500.0, "seen": 1_499.9, "met": False},
    }
    unjudged = floors(runs, seen, is_judged=False)
    assert [(floor["seen"], floor["met"]) for floor in unjudged.values()] == [
        (0.3, None),
        (1_499.9, None),
    ]


def test_a_baseline_that_reached_nothing_has_no_ratio() -> None:
    """It is void and told so; the others' figures must not be lost with it."""
    runs = {"noop": summary([figures(0.0)]), "accept": summary([figures(300.0)])}
    assert ratios(runs) == {}
    assert floors(runs, {}, is_judged=True) == {}


def test_ratios_name_runs_that_exist() -> None:
    """No comparison or group can silently never come true."""
    named = {name for ratio in RATIOS for name in (ratio.run, ratio.to)}
    assert named | set(RATE_FLOORS) | {x for group in GROUPS.values() for x in group} <= set(
        RUN_NAMES
    )


def test_a_plan_resolves_names_and_groups() -> None:
    """A group stands for its runs, none for all; a run of a pair doesn't report the other one."""
    assert Plan.of([]).names == set(RUN_NAMES)
    plan = Plan.of(["e2e_zipf", "engine"])
    assert plan.names == {"e2e_zipf_1", "e2e_zipf_2", "engine"}
    assert [scenario.names[0] for scenario in plan.scenarios] == [
        "accept",
        "e2e_zipf_1",
        "e2e_zipf_2",
    ]
    assert plan.of_psp(SIMULATOR) == []


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_a_percentile_was_really_measured(values: list[float], percent: int) -> None:
    """At least that share of the values is not above it, and it is one of them."""
    ordered = [round(value, 3) for value in sorted(values)]
    found = percentile(ordered, percent)
    assert found in ordered
    assert sum(value <= found for value in ordered) * 100 >= percent * len(ordered)


def test_nothing_measured_has_no_figure() -> None:
    """Absence is None, never zero."""
    assert percentile([], 50) is None
    assert median([None, None]) is None
    assert slope([(1.0, 2.0)]) is None


def test_slopes_leave_the_filling_of_caches_out() -> None:
    """A process that grows up to 100,000 orders and then stands still has no slope; a leak has one."""
    points = [
        (orders, {"host-0": min(orders, 100_000), "gateway-0": 7 * orders})
        for orders in range(0, 500_001, 50_000)
    ]
    assert slopes(points) == {"host-0": pytest.approx(0), "gateway-0": pytest.approx(7)}
