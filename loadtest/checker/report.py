"""What the checker says: per invariant, and all in all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """What a run shows."""

    VALID = "valid"
    VIOLATED = "violated"
    UNKNOWN = "unknown"
    """Something is missing that would have had to be looked at. Never as good as valid."""


class TimelineLine(NamedTuple):
    """One thing that happened around a counter-example. ``at_ms`` is None where no clock tells."""

    at_ms: float | None
    """Milliseconds since the run began."""
    source: str
    """Whose record says so: client, ledger, psp, fault, queue."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterExample:
    """The first violation of an invariant."""

    what: str
    timeline: tuple[TimelineLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InvariantResult:
    """One invariant: how many things were checked, and how many of them violate it."""

    invariant: str
    """``I1`` to ``I28``."""
    title: str
    checked: int = 0
    violated: int = 0
    first: CounterExample | None = None
    not_yet: str = ""
    """Why it can't be checked so far; then it counts neither as passed nor as failed."""
    unknown: str = ""
    """Why nothing follows from what was found."""


class CellCount(NamedTuple):
    """How often one cell of the plan was met."""

    cell: str
    begun: int
    ended: int
    skipped: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole result. Only ``valid`` means that every invariant of today held."""

    verdict: Verdict
    reasons: tuple[str, ...]
    """Why it is not valid."""
    invariants: tuple[InvariantResult, ...]
    coverage: tuple[CellCount, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    """How much of each input there was."""
