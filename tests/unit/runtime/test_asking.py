"""Answers that are waited for only so long."""

from __future__ import annotations

import asyncio

import pytest

from runtime.asking import in_time
from runtime.faults import StorageUnavailable


async def test_an_answer_in_time_is_returned() -> None:
    """What is answered within the limit comes back as it was given."""

    async def answer() -> int:
        return 7

    assert await in_time(answer(), 1.0) == 7


async def test_silence_and_a_store_that_is_away_are_none() -> None:
    """What hangs is given up after the limit, and the store's absence is no failure of who asks."""

    async def refuse() -> int:
        raise StorageUnavailable("postgres", "away")

    assert await in_time(asyncio.sleep(60, 7), 0.01) is None
    assert await in_time(refuse(), 1.0) is None


async def test_a_defect_is_not_silence() -> None:
    """Nothing but absence is swallowed."""

    async def break_down() -> int:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        await in_time(break_down(), 1.0)
