"""What became of a mutant, and of the runs without one that say what this is worth."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

import msgspec

# What ``tally chaos`` ends with.
EXIT_VALID = 0
EXIT_VIOLATED = 1

_INVARIANT = re.compile(r"\bI(?:[1-9]|1\d|2[0-8])\b", re.ASCII)
_NAME_MEMBERS = ("invariant", "number", "name", "id")


class Outcome(StrEnum):
    """What became of one mutant."""

    CAUGHT = "caught"
    MISSED = "missed"
    VOID = "void"
    """The run, or its control, came to no verdict: nothing is shown."""


class Where(StrEnum):
    """On what a mutant was tried."""

    SIMULATION = "simulation"
    SERVERS = "servers"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One try of one mutant, or without one."""

    outcome: Outcome
    where: Where
    scenario: str
    """What it took: a seed of the simulation, or the faults of a run on servers."""
    seen_by: tuple[str, ...] = ()
    """The invariants violated, and ``verify`` for the books' own word."""
    reason: str = ""
    """What the checker said of the first violation, or why nothing is shown."""
    seconds: float = 0.0
    seed_count: int = 0
    """How many seeds of the simulation were run, to the one that shows it."""


class ChaosRun(msgspec.Struct, frozen=True):
    """How one run of ``tally chaos`` ended. ``exit_code`` is None for one that had to be stopped."""

    exit_code: int | None
    document: Mapping[str, Any] | None
    """What it printed, None when that was no JSON object."""


def judged(run: ChaosRun, scenario: str, seconds: float) -> Run:
    """Say what a run on servers with a mutant shows."""
    outcome, seen, reason = _verdict(run)
    return Run(
        outcome=outcome,
        where=Where.SERVERS,
        scenario=scenario,
        seen_by=seen,
        reason=reason,
        seconds=seconds,
    )


def _verdict(run: ChaosRun) -> tuple[Outcome, tuple[str, ...], str]:
    if run.exit_code == EXIT_VALID:
        return Outcome.MISSED, (), ""
    if run.exit_code != EXIT_VIOLATED or run.document is None:
        return Outcome.VOID, (), how_it_ended(run)
    # Also a command that failed for a reason of its own may end with 1.
    if run.document.get("verdict") != "violated":
        return Outcome.VOID, (), f"exit code 1 with the verdict {run.document.get('verdict')!r}"
    reasons = _texts(run.document.get("reasons"))
    return Outcome.CAUGHT, seen_by(run.document), reasons[0] if reasons else ""


def how_it_ended(run: ChaosRun) -> str:
    """Return why a run proves nothing, in words."""
    if run.exit_code is None:
        return "the run did not end"
    reasons = _texts(run.document.get("reasons")) if run.document is not None else []
    return "; ".join([f"exit code {run.exit_code}", *reasons[:3]])


def seen_by(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the invariants that a document calls violated, in the order of their numbers."""
    found = set(_violated(document))
    verify = document.get("verify")
    checks = verify.get("checks") if isinstance(verify, Mapping) else None
    failed = [c for c in checks or () if isinstance(c, Mapping) and _has_violations(c)]
    return (*in_order(found), *(("verify",) if failed else ()))


def in_order(names: set[str]) -> tuple[str, ...]:
    """Return those that are numbers of invariants, in their order."""
    numbers = [name for name in names if _INVARIANT.fullmatch(name)]
    return tuple(sorted(numbers, key=lambda name: int(name[1:])))


def _violated(node: object, name: str | None = None) -> Iterator[str]:
    """Find invariants with violations anywhere in a document: named by a member, or by where they stand."""
    if isinstance(node, Mapping):
        named = next((node[member] for member in _NAME_MEMBERS if member in node), name)
        if isinstance(named, str) and _INVARIANT.fullmatch(named) and _has_violations(node):
            yield named
        for key, value in node.items():
            yield from _violated(value, key if isinstance(key, str) else None)
    elif isinstance(node, list):
        for item in node:
            yield from _violated(item)


def _has_violations(node: Mapping[str, object]) -> bool:
    return bool(node.get("violated") or node.get("violations") or node.get("violated_count"))


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
