"""Carrying a plan out: bounded, logged, and healed whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from loadtest.chaos import running
from loadtest.chaos.cells import REDIS, Cell, FaultKind
from loadtest.chaos.failures import ChaosFailed, NotNow, NotPossible
from loadtest.chaos.faults.port import Detail, Scene
from loadtest.chaos.plan import OVERLAP_MAX, Planned
from loadtest.chaos.recording import BEGIN, END, SKIPPED, FaultLog, coverage, unmade
from loadtest.chaos.running import Runner
from loadtest.chaos.stack import ChaosStack

HOLD_S = 0.03


@pytest.fixture(autouse=True)
def _no_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "GAP_S", 0.0)


class WholeStack:
    """A stack whose stores are always in step."""

    async def wait_whole(self, store: str, timeout_s: float) -> float:
        return 0.0


class Playground:
    """Makes faults that note what is done to them."""

    def __init__(self, begin: Callable[[Scene], None] = lambda _: None) -> None:
        self.begin = begin
        self.active: set[str] = set()
        self.most_active = 0
        self.healed: list[str] = []

    def make(self, scene: Scene) -> PlayedFault:
        return PlayedFault(self, scene)


class PlayedFault:
    def __init__(self, playground: Playground, scene: Scene) -> None:
        self._playground = playground
        self._scene = scene

    async def begin(self) -> Detail:
        self._playground.begin(self._scene)
        self._playground.active.add(self._scene.cell.name)
        self._playground.most_active = max(
            self._playground.most_active, len(self._playground.active)
        )
        return {"drawn": self._scene.draw.random()}

    async def heal(self) -> Detail:
        self._playground.active.discard(self._scene.cell.name)
        self._playground.healed.append(self._scene.cell.name)
        return {}


def cell(step: str, *, touches: frozenset[str] = frozenset(), hold_s: float = HOLD_S) -> Cell:
    return Cell(
        fault=FaultKind.FREEZE, target=f"target-{step}", step=step, hold_s=hold_s, touches=touches
    )


def planned(*cells: Cell, may_overlap: bool = True, is_wanted: bool = True) -> list[Planned]:
    return [
        Planned(cell=one, at_s=0.0, may_overlap=may_overlap, seed=7, is_wanted=is_wanted)
        for one in cells
    ]


async def run(
    tmp_path: Path, playground: Playground, plan: list[Planned], seconds: float = 10.0
) -> FaultLog:
    log = FaultLog(tmp_path)
    runner = Runner(cast("ChaosStack", WholeStack()), log, lambda _: None, playground.make)
    try:
        await runner.run(plan, seconds)
    finally:
        log.close()
    return log


async def test_every_fault_begins_and_ends(tmp_path: Path) -> None:
    """Each has its two lines with its number, in the file as in memory, and is healed."""
    playground = Playground()
    log = await run(tmp_path, playground, planned(cell("a"), cell("b"), may_overlap=False))
    assert [(line.cell, line.phase, line.number) for line in log.lines] == [
        ("freeze/target-a/a", BEGIN, 1),
        ("freeze/target-a/a", END, 1),
        ("freeze/target-b/b", BEGIN, 2),
        ("freeze/target-b/b", END, 2),
    ]
    assert len((tmp_path / "faults.jsonl").read_text().splitlines()) == 4
    assert not playground.active
    assert log.lines[1].at_ns - log.lines[0].at_ns >= HOLD_S * 1e9


async def test_few_are_active_at_one_time(tmp_path: Path) -> None:
    """However dense the plan, no more than two last at once, and two of one store never."""
    playground = Playground()
    await run(tmp_path, playground, planned(*(cell(f"s{number}") for number in range(8))))
    assert playground.most_active == OVERLAP_MAX
    of_one_store = Playground()
    stores = [cell(f"r{number}", touches=frozenset({REDIS})) for number in range(4)]
    await run(tmp_path, of_one_store, planned(*stores))
    assert of_one_store.most_active == 1


async def test_what_is_impossible_is_skipped_with_its_reason(tmp_path: Path) -> None:
    """It is not tried again, and the coverage says why it was never hit."""
    tries: list[str] = []

    def begin(scene: Scene) -> None:
        tries.append(scene.cell.name)
        raise NotPossible("this takes root")

    log = await run(tmp_path, Playground(begin), planned(cell("a")))
    assert tries == ["freeze/target-a/a"]
    assert [(line.phase, line.reason) for line in log.lines] == [(SKIPPED, "this takes root")]
    covered = coverage([cell("a"), cell("b")], log.lines)
    assert covered["freeze/target-a/a"].reason == "this takes root"
    assert covered["freeze/target-b/b"].hits == 0
    assert covered["freeze/target-b/b"].reason


async def test_what_is_not_possible_now_gets_another_turn(tmp_path: Path) -> None:
    """A cell that met a bad moment is hit at the end of the run."""
    moments: list[str] = []

    def begin(scene: Scene) -> None:
        moments.append(scene.cell.step)
        if moments.count("a") == 1 and scene.cell.step == "a":
            raise NotNow("the store is not whole")

    log = await run(tmp_path, Playground(begin), planned(cell("a"), cell("b"), may_overlap=False))
    assert moments == ["a", "b", "a"]
    covered = coverage([cell("a"), cell("b")], log.lines)
    assert [one.hits for one in covered.values()] == [1, 1]
    assert covered["freeze/target-a/a"].reason == ""


async def test_what_is_never_possible_is_no_plan_that_was_kept(tmp_path: Path) -> None:
    """Tried until it is no accident any more; then the cell is unmade, unlike one that needs what is not here."""
    tries: list[str] = []

    def begin(scene: Scene) -> None:
        tries.append(scene.cell.step)
        raise NotNow("nobody came by") if scene.cell.step == "a" else NotPossible("takes root")

    plan = planned(cell("a"), cell("b"), may_overlap=False)
    log = await run(tmp_path, Playground(begin), plan)
    assert tries == ["a", "b", *("a" for _ in range(running.AGAIN_MAX))]
    assert unmade([cell("a"), cell("b"), cell("c")], log.lines) == [
        "freeze/target-a/a",
        "freeze/target-c/c",
    ]


async def test_later_rounds_end_with_the_time(tmp_path: Path) -> None:
    """What is not of the first round is left out when it would last too long."""
    plan = [
        *planned(cell("a", hold_s=0.2)),
        *planned(cell("b", hold_s=5.0), is_wanted=False),
    ]
    log = await run(tmp_path, Playground(), plan, seconds=1.0)
    assert {line.cell for line in log.lines} == {"freeze/target-a/a"}


async def test_an_interrupted_run_heals(tmp_path: Path) -> None:
    """Whoever stops a run in the middle of a fault finds nothing frozen or cut afterwards."""
    playground = Playground()
    task = asyncio.create_task(run(tmp_path, playground, planned(cell("a", hold_s=60.0))))
    async with asyncio.timeout(5):
        while not playground.active:
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert playground.healed == ["freeze/target-a/a"]


async def test_a_stack_that_is_gone_ends_the_run(tmp_path: Path) -> None:
    """A dead daemon is no skipped cell: the run fails, and what was begun is healed."""

    def begin(_: Scene) -> None:
        raise ChaosFailed("the daemon has died")

    playground = Playground(begin)
    with pytest.raises(ChaosFailed):
        await run(tmp_path, playground, planned(cell("a")))
    assert playground.healed == ["freeze/target-a/a"]


async def test_a_fault_draws_the_same_for_the_same_seed(tmp_path: Path) -> None:
    """What a fault chooses by itself is part of the plan, too."""
    drawn: list[Any] = []
    for _ in range(2):
        log = await run(tmp_path, Playground(), planned(cell("a")))
        drawn.append(log.lines[0].detail["drawn"])
    assert drawn[0] == drawn[1]
