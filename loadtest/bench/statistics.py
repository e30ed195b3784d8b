"""The few statistics that a benchmark needs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

# CPU seconds a payment, told to a tenth of a microsecond.
MEDIAN_DIGITS = 7


def percentile(ordered: Sequence[float], percent: int, *, unit: float = 1.0) -> float | None:
    """The nearest-rank percentile of sorted values, times ``unit``; None of none.

    A value that was really measured, never one between two.
    """
    if not ordered:
        return None
    rank = max(1, math.ceil(len(ordered) * percent / 100))
    return round(ordered[rank - 1] * unit, 3)


def median(values: Iterable[float | None]) -> float | None:
    """The median of what was measured, of an even number the mean of the middle two; None when nothing was."""
    known = [value for value in values if value is not None]
    # Means have digits of their own: no more are kept than the most precise of what is measured has.
    return round(statistics.median(known), MEDIAN_DIGITS) if known else None


def medians_by_name(tables: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The median of each name over all tables that have it, names in the order of their first."""
    names = list(dict.fromkeys(name for table in tables for name in table))
    return {name: median(table.get(name) for table in tables) for name in names}


def slope(points: Sequence[tuple[float, float]]) -> float | None:
    """The slope of the least-squares line through (x, y) points; None of fewer than two."""
    if len({x for x, _ in points}) < 2:
        return None
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope
