"""What one run has shown, and what several of them show together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from loadtest.bench.plan import RATE_FLOORS, RATIOS
from loadtest.bench.statistics import median, medians_by_name

GENERATOR = "generator"
"""The role of the load generator's process."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One run, once. Every field is there for every run; None is what this run can't have."""

    rate_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    latency_of: str
    """From when to when the latencies are measured, and of which requests."""
    payments: int
    seconds: float
    cpu_s_per_payment: dict[str, float]
    """By role of processes."""
    pss_peak_bytes: dict[str, int]
    wal_bytes_per_payment: float
    aof_bytes_per_payment: float | None
    """None when the file was rewritten meanwhile, which makes it shorter."""
    fsyncs: dict[str, int | None]
    answers: dict[str, int]
    """Count by HTTP status."""
    verify: dict[str, Any]
    """``ok``, and how the books were checked."""
    void: list[str]
    """Why this run does not count; empty for one that does."""
    detail: dict[str, Any] = {}


def summary(repeats: Sequence[Figures]) -> dict[str, Any]:
    """The medians of a run's repeats, and the repeats themselves."""
    return {
        "rate_per_s": median(one.rate_per_s for one in repeats),
        "p50_ms": median(one.p50_ms for one in repeats),
        "p99_ms": median(one.p99_ms for one in repeats),
        "latency_of": repeats[0].latency_of,
        "cpu_s_per_payment": medians_by_name([one.cpu_s_per_payment for one in repeats]),
        "pss_peak_bytes": medians_by_name([one.pss_peak_bytes for one in repeats]),
        "wal_bytes_per_payment": median(one.wal_bytes_per_payment for one in repeats),
        "aof_bytes_per_payment": median(one.aof_bytes_per_payment for one in repeats),
        "fsyncs": medians_by_name([one.fsyncs for one in repeats]),
        "is_void": any(one.void for one in repeats),
        "repeats": [msgspec.to_builtins(one) for one in repeats],
    }


def ratios(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Every ratio whose two runs were made, of their median rates. A void run may have reached nothing."""
    return {
        ratio.name: round(runs[ratio.run]["rate_per_s"] / runs[ratio.to]["rate_per_s"], 3)
        for ratio in RATIOS
        if ratio.run in runs and ratio.to in runs and runs[ratio.to]["rate_per_s"]
    }


def cpu_ratios(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """As ``ratios``, of payments a CPU second: what a noisy machine leaves comparable.

    The generator is left out: it is the same for all, and stands for customers.
    """
    rates = {name: _payments_a_cpu_second(run) for name, run in runs.items()}
    return {
        ratio.name: round(rates[ratio.run] / rates[ratio.to], 3)
        for ratio in RATIOS
        if rates.get(ratio.run) and rates.get(ratio.to)
    }


def _payments_a_cpu_second(run: Mapping[str, Any]) -> float:
    spent_s = sum(
        seconds for role, seconds in run["cpu_s_per_payment"].items() if role != GENERATOR
    )
    return 1 / spent_s if spent_s else 0.0


def floors(
    runs: Mapping[str, Mapping[str, Any]], seen_ratios: Mapping[str, float], *, is_judged: bool
) -> dict[str, dict[str, Any]]:
    """What had to be reached, what was seen, and whether that is enough: None when not judged."""
    wanted = {ratio.name: ratio.floor for ratio in RATIOS if ratio.floor is not None}
    seen: dict[str, float] = dict(seen_ratios)
    for name, floor in RATE_FLOORS.items():
        if name in runs:
            wanted[f"{name}.rate_per_s"] = floor
            seen[f"{name}.rate_per_s"] = runs[name]["rate_per_s"]
    return {
        name: {
            "floor": floor,
            "seen": seen[name],
            "met": seen[name] >= floor if is_judged else None,
        }
        for name, floor in wanted.items()
        if name in seen
    }
