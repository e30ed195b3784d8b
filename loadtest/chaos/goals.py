"""What a single fault may cost, and whether it did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadtest.chaos.figures import FaultFigures

RECOVERY_S_MAX = 15.0

_GOALS: Mapping[str, Mapping[str, float]] = {
    "host": {"unowned_s": 3.0},
    "redis": {"outage_s": 5.0},
    "postgres": {"settle_gap_s": 10.0, "outage_s": 0.0},
    # Starting a host takes half of it on a busy machine.
    "gcs": {"outage_s": 0.0, "settle_gap_s": 3.0, "hosts_lost": 0.0, "scales_after_s": 20.0},
}
"""Single fault -> its figures, each with the most that is wanted, in seconds unless it counts."""


def goals_of(single: str, figures: FaultFigures) -> dict[str, dict[str, Any]]:
    """Hold one fault's figures against what is wanted of it."""
    goals: dict[str, dict[str, Any]] = {}
    for name, bound_s in {**_GOALS[single], "recovery_s": RECOVERY_S_MAX}.items():
        # What only one fault has lies in its detail.
        seen_s: float | None = getattr(figures, name, figures.detail.get(name))
        goals[name] = {
            "seen_s": seen_s,
            "bound_s": bound_s,
            "met": seen_s is not None and seen_s <= bound_s,
        }
    return goals
