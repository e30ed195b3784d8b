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


@pytest.mark.parametrize(
    ("taken_count", "spacing_s"),
    [
        (1, 0.0),
        (CROWDED_COUNT - 1, 0.0),
        (CROWDED_COUNT, FLUSH_SPACING_S),
        (BUSY_COUNT - 1, FLUSH_SPACING_S),
        (BUSY_COUNT, BUSY_SPACING_S),
    ],
)
def test_the_more_a_flush_held_the_longer_the_next_one_gathers(
    taken_count: int, spacing_s: float
) -> None:
    """Few wait for nobody, a crowd for a moment, and on a busy machine for a tenth of a second."""
    assert flush_spacing_s(taken_count) == spacing_s


def test_a_lane_leaves_the_slow_pace_when_less_comes() -> None:
    """What the slow pace itself gathers must not hold a lane in it at a rate that the quick one serves well."""
    rate = 0.9 * BUSY_COUNT / BUSY_SPACING_S
    assert flush_spacing_s(int(rate * BUSY_SPACING_S)) == FLUSH_SPACING_S
