"""Signals to a long measurement: it ends as by an error, and puts away what it started."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from loadtest.interrupting import cancel_on_signals


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_told_twice_it_goes_on_putting_away(signum: signal.Signals) -> None:
    """Who presses Ctrl-C again, impatient, does not leave half a stack behind."""
    done: list[str] = []

    async def measure() -> None:
        cancel_on_signals()
        os.kill(os.getpid(), signum)
        try:
            await asyncio.sleep(60)
        finally:
            os.kill(os.getpid(), signum)
            await asyncio.sleep(0.05)
            done.append("put away")

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(measure())
    assert done == ["put away"]
