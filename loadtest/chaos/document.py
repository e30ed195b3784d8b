"""Everything that a run has shown, as one document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from loadtest.bench.statistics import percentile
from loadtest.chaos.figures import (
    NS,
    FaultFigures,
    Request,
    Run,
    figures_of,
    p99_ms,
)
from loadtest.chaos.goals import goals_of
from loadtest.chaos.options import Options
from loadtest.chaos.recording import FaultLine, coverage
from loadtest.chaos.requests import requests_of
from loadtest.chaos.sampling import Sampler, Unknowns
from loadtest.chaos.series import series_of


def document_of(
    options: Options,
    directory: Path,
    lines: Sequence[FaultLine],
    sampler: Sampler,
    judged: Mapping[str, Any],
    times: Mapping[str, int],
    partition_count: int,
) -> dict[str, Any]:
    """Return the document, but for what is known of machine and revision."""
    run = Run(
        started_ns=times["started_ns"],
        # What is sent once all is over, to read it to its end, says nothing of faults.
        requests=[one for one in requests_of(directory) if one.sent_ns < times["load_ended_ns"]],
        samples=sampler.samples,
        partition_count=partition_count,
    )
    figures = figures_of(run, lines)
    cells = coverage(options.cells(), list(lines))
    document = {
        "chaos": {
            "mix": None if options.single else options.mix,
            "single": options.single,
            "fault_count": len(figures),
            "cell_count": len(cells),
            "hit_count": sum(cell.hits > 0 for cell in cells.values()),
        },
        "seed": options.seed,
        **judged,
        "faults": [msgspec.to_builtins(one) for one in figures],
        "by_kind": by_kind(figures),
        "coverage": {name: msgspec.to_builtins(cell) for name, cell in cells.items()},
        "load": load_summary(run.requests),
        "unknowns": unknown_summary(sampler.unknowns),
        "quiet_after_s": round((times["quiesced_ns"] - times["healed_ns"]) / NS, 1),
        "series": series_of(run, times["ended_ns"]),
        "options": {
            "minutes": options.minutes,
            "rate_per_s": options.rate_per_s,
            "gateways": options.gateways,
            "hosts": options.hosts,
            "is_ray_used": options.is_ray_used,
            "cells_drawn": options.cell_count,
        },
    }
    if options.single and figures:
        document["goals"] = goals_of(options.single, figures[0])
    return document


def by_kind(figures: Sequence[FaultFigures]) -> dict[str, dict[str, Any]]:
    """The worst of each kind of fault and target, for the short table."""
    found: dict[str, list[FaultFigures]] = {}
    for one in figures:
        fault, target, _ = one.cell.split("/", 2)
        found.setdefault(f"{fault}/{target}", []).append(one)
    return {
        name: {
            "count": len(many),
            "failed": sum(one.failed for one in many),
            "outage_s_max": max(one.outage_s for one in many),
            "accept_gap_s_max": max(one.accept_gap_s for one in many),
            "recovery_s_max": _max(one.recovery_s for one in many),
            "unrecovered": sum(one.recovery_s is None for one in many),
            "p99_ms_max": _max(one.p99_ms for one in many),
            "held_p99_ms_max": _max(one.held_p99_ms for one in many),
            "settle_gap_s_max": max(one.settle_gap_s for one in many),
            "unowned_s_max": max(one.unowned_s for one in many),
            "unknown_peak": max(one.unknown_peak for one in many),
        }
        for name, many in sorted(found.items())
    }


def _max(values: Any) -> float | None:
    return max((value for value in values if value is not None), default=None)


def load_summary(requests: Sequence[Request]) -> dict[str, Any]:
    """Counts, and latencies of what was served without being held."""
    served = [request for request in requests if request.is_served]
    latencies_ns = sorted(request.took_ns for request in served if not request.is_held)
    return {
        "sent": len(requests),
        "served": len(served),
        "failed": len(requests) - len(served),
        "p50_ms": percentile(latencies_ns, 50, unit=1e-6),
        "p99_ms": percentile(latencies_ns, 99, unit=1e-6),
        "held_p99_ms": p99_ms(served, is_held=True),
    }


def unknown_summary(unknowns: Unknowns) -> dict[str, Any]:
    """How many orders were unknown, and how long until each was not."""
    took = sorted((until_ns - since_ns) / NS for since_ns, until_ns in unknowns.resolved)
    return {
        "resolved": len(took),
        "unresolved": len(unknowns.unresolved_since_ns),
        "p50_s": percentile(took, 50),
        "p99_s": percentile(took, 99),
        "max_s": percentile(took, 100),
    }
