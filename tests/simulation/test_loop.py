"""The loop itself: virtual time, cells, and what killing and freezing one means."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulation.loop import SimLoop, SimulationStuck, running_loop


async def _note(seen: list[str], name: str, delay_s: float) -> None:
    try:
        await asyncio.sleep(delay_s)
        seen.append(name)
    finally:
        seen.append(f"{name} cleaned up")


def test_time_passes_only_when_nobody_has_work() -> None:
    """An hour's sleep takes an hour of virtual time and none of ours."""
    with running_loop(1) as loop:
        loop.run_until_complete(asyncio.sleep(3_600))
        assert loop.time() == 3_600


def test_a_killed_process_runs_nothing_more_not_even_its_cleanup() -> None:
    """SIGKILL leaves no time for a ``finally``."""
    seen: list[str] = []
    with running_loop(1) as loop:
        victim, other = loop.cell("victim"), loop.cell("other")
        victim.spawn(_note(seen, "victim", 1.0))
        other.spawn(_note(seen, "other", 2.0))
        loop.world.call_at(0.5, victim.kill)
        loop.run_until_complete(asyncio.sleep(3))
        assert seen == ["other", "other cleaned up"]


def test_a_frozen_process_goes_on_after_the_thaw() -> None:
    """SIGSTOP holds everything up, while time goes on; nothing is lost."""
    seen: list[str] = []
    with running_loop(1) as loop:
        frozen = loop.cell("frozen")
        frozen.spawn(_note(seen, "frozen", 1.0))
        loop.world.call_at(0.5, frozen.freeze)
        loop.run_until_complete(asyncio.sleep(3))
        assert not seen
        frozen.thaw()
        loop.run_until_complete(asyncio.sleep(0.001))
        assert seen == ["frozen", "frozen cleaned up"]


def test_callbacks_of_one_process_keep_their_order() -> None:
    """asyncio promises that order within a process; only between processes it is drawn."""
    seen: list[int] = []
    with running_loop(1) as loop:
        for number in range(50):
            loop.call_soon(seen.append, number)
        loop.run_until_complete(asyncio.sleep(0))
        assert seen == list(range(50))


def _order_of_cells(seed: int) -> tuple[list[int], str]:
    seen: list[int] = []
    with running_loop(seed) as loop:
        for number in range(20):
            loop.call_soon(seen.append, number, context=loop.cell(str(number)).context)
        loop.run_until_complete(asyncio.sleep(1))
        return seen, loop.trace_hash()


def test_which_process_goes_next_is_drawn_from_the_seed() -> None:
    """The same seed, the same order; another seed, another one."""
    assert _order_of_cells(1) == _order_of_cells(1)
    assert _order_of_cells(1)[0] != _order_of_cells(2)[0]
    assert _order_of_cells(1)[1] != _order_of_cells(2)[1]


def test_a_wait_for_nothing_is_told() -> None:
    """A world in which everybody waits for somebody is an error, not a hang."""
    loop = SimLoop(1)
    with pytest.raises(SimulationStuck):
        loop.run_until_complete(loop.create_future())
    loop.close()


def test_threads_are_refused() -> None:
    """Nothing in a simulation runs beside it."""
    with running_loop(1) as loop, pytest.raises(SimulationStuck):
        loop.run_until_complete(asyncio.to_thread(len, ""))
