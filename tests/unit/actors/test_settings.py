"""How a host paces its flushes."""

from __future__ import annotations

import pytest

from actors.settings import (
    BUSY_COUNT,
    BUSY_SPACING_S,
    CROWDED_COUNT,
    FLUSH_SPACING_S,
    flush_spacing_s,
)

SHORT_S, LONG_S = 0.9 * FLUSH_SPACING_S, FLUSH_SPACING_S


@pytest.mark.parametrize(
    ("taken_count", "took_s", "is_all", "spacing_s"),
    [
        (CROWDED_COUNT - 1, LONG_S, True, 0.0),
        (CROWDED_COUNT, SHORT_S, True, FLUSH_SPACING_S),
        (BUSY_COUNT - 1, LONG_S, True, FLUSH_SPACING_S),
        (BUSY_COUNT, LONG_S, True, BUSY_SPACING_S),
        (BUSY_COUNT, SHORT_S, True, FLUSH_SPACING_S),
        (BUSY_COUNT, LONG_S, False, FLUSH_SPACING_S),
    ],
)
def test_the_longer_a_lanes_flushes_take_the_more_the_next_one_gathers(
    taken_count: int, took_s: float, is_all: bool, spacing_s: float
) -> None:
    """Few wait for nobody, a crowd for a moment, and longer alone where the machine has no time to spare.

    Where time is left, a burst must not slow down what follows it; nor may partitions that have not had
    their turn wait for a pause that they gain nothing by.
    """
    assert flush_spacing_s(taken_count, took_s=took_s, is_all=is_all) == spacing_s
