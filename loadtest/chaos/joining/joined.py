"""Several runs as one: what each was, and what each kind of fault did in all of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loadtest.bench.statistics import median
from loadtest.chaos.failures import ChaosFailed
from loadtest.chaos.judging import UNKNOWN, VALID, VIOLATED

Document = Mapping[str, Any]

FIGURES = (
    "outage_s",
    "accept_gap_s",
    "settle_gap_s",
    "unowned_s",
    "recovery_s",
    "p99_ms",
    "held_p99_ms",
)
"""Of each fault, what is joined: by its median and its worst."""

# From the best to the worst: of several runs, the worst counts.
_VERDICTS = (VALID, UNKNOWN, VIOLATED)


def joined(documents: Sequence[Document]) -> dict[str, Any]:
    """Return one document of several of ``tally chaos --json``.

    Raises ChaosFailed for none, and for one that is no such document.
    """
    if not documents:
        raise ChaosFailed("no run is named")
    for document in documents:
        if not {"chaos", "faults", "coverage", "unknowns", "verdict"} <= document.keys():
            raise ChaosFailed("that is no document of `tally chaos --json`")
    runs = [_run(document) for document in documents]
    mixes = [document for document in documents if not document["chaos"]["single"]]
    cells = _cells(mixes)
    return {
        "runs": runs,
        "totals": {
            "runs": len(runs),
            "faults": sum(run["faults"] for run in runs),
            "cells": len(cells),
            "cells_hit": sum(hits > 0 for hits in cells.values()),
            "requests": sum(run["requests"] for run in runs),
            "unknowns_resolved": sum(run["unknowns"]["resolved"] for run in runs),
            "unknowns_unresolved": sum(run["unknowns"]["unresolved"] for run in runs),
            "unknown_s_max": _max(run["unknowns"]["max_s"] for run in runs),
            "verdict": max((run["verdict"] for run in runs), key=_VERDICTS.index),
        },
        "cells_not_hit": sorted(name for name, hits in cells.items() if not hits),
        "by_fault": _by_fault(fault for document in mixes for fault in document["faults"]),
        "singles": [_single(document) for document in documents if document["chaos"]["single"]],
        "machine": documents[-1]["machine"],
        "revisions": _in_order(document["revision"]["commit"] for document in documents),
        "is_changed": any(document["revision"]["is_changed"] for document in documents),
        "measured_at": [
            min(document["measured_at"] for document in documents),
            max(document["measured_at"] for document in documents),
        ],
    }


def _run(document: Document) -> dict[str, Any]:
    """One run, as one line."""
    chaos, load = document["chaos"], document["load"]
    return {
        "name": chaos["single"] or chaos["mix"],
        "is_single": chaos["single"] is not None,
        "seed": document["seed"],
        "minutes": document["options"]["minutes"],
        "faults": chaos["fault_count"],
        "cells": chaos["cell_count"],
        "cells_hit": chaos["hit_count"],
        "requests": load["sent"],
        "failed": load["failed"],
        "p99_ms": load["p99_ms"],
        "unknowns": document["unknowns"],
        "quiet_after_s": document["quiet_after_s"],
        "verdict": document["verdict"],
        "reasons": document["reasons"],
    }


def _single(document: Document) -> dict[str, Any]:
    """A single fault, with the goals that it was held against."""
    return {
        "name": document["chaos"]["single"],
        "seed": document["seed"],
        "goals": document.get("goals", {}),
        **{name: one.get(name) for one in document["faults"][:1] for name in FIGURES},
    }


def _by_fault(faults: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Kind and target -> how many there were, and what they did."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for fault in faults:
        kind, target, _ = fault["cell"].split("/", 2)
        found.setdefault(f"{kind}/{target}", []).append(fault)
    return {
        name: {
            "count": len(many),
            "failed": sum(fault["failed"] for fault in many),
            "unrecovered": sum(fault["recovery_s"] is None for fault in many),
            "unknown_peak": max(fault["unknown_peak"] for fault in many),
            **{
                figure: {
                    "median": median(fault.get(figure) for fault in many),
                    "max": _max(fault.get(figure) for fault in many),
                }
                for figure in FIGURES
            },
        }
        for name, many in sorted(found.items())
    }


def _cells(documents: Sequence[Document]) -> dict[str, int]:
    """Every planned cell -> its hits in all runs."""
    hits: dict[str, int] = {}
    for document in documents:
        for name, cell in document["coverage"].items():
            hits[name] = hits.get(name, 0) + cell["hits"]
    return hits


def _max(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _in_order(values: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys((value or "unknown")[:12] for value in values))
