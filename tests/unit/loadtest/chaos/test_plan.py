"""The plan of faults: complete, bounded, and the same for the same seed."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest

from loadtest.chaos.cells import (
    ALL,
    GATEWAY_POINTS,
    HOST_POINTS,
    MIXES,
    NONE,
    POISON_CLASSES,
    RAY,
    FaultKind,
    cells_of,
)
from loadtest.chaos.options import Options
from loadtest.chaos.plan import GAP_S, OVERLAP_MAX, WARM_UP_S, Planned, may_meet, plan
from runtime.crash_points import POINTS


def ends_s(planned: Planned) -> float:
    return planned.at_s + planned.cell.hold_s


@pytest.mark.parametrize("mix", MIXES)
def test_cells_are_told_apart(mix: str) -> None:
    """No two cells of a mix share a name: coverage counts each."""
    names = [cell.name for cell in cells_of(mix)]
    assert len(set(names)) == len(names)
    assert bool(names) == (mix != NONE)


def test_all_is_every_kind_together() -> None:
    """The mix of everything leaves no cell of a single mix out; Ray's need another stack."""
    everything = {cell.name for cell in cells_of(ALL)}
    for mix in MIXES:
        if mix != RAY:
            assert {cell.name for cell in cells_of(mix)} <= everything, mix
    assert {cell.fault for cell in cells_of(ALL)} == set(FaultKind)


def test_every_crash_point_is_a_cell() -> None:
    """A step at which a process can be killed is one at which it is killed."""
    killed_at = {cell.step for cell in cells_of("kill")}
    assert killed_at >= POINTS
    assert set(HOST_POINTS) | set(GATEWAY_POINTS) == POINTS


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("seed", [1, 2, 77])
def test_every_cell_comes_at_least_once(mix: str, seed: int) -> None:
    """However short the run was meant to be, no cell is left out."""
    cells = cells_of(mix)
    planned = plan(cells, seed=seed, seconds=30.0)
    assert sorted(item.cell.name for item in planned if item.is_wanted) == sorted(
        cell.name for cell in cells
    )


@pytest.mark.parametrize("mix", sorted({*MIXES} - {ALL}))
@pytest.mark.parametrize("seed", range(1, 9))
def test_a_mix_of_one_kind_comes_round_in_three_minutes(mix: str, seed: int) -> None:
    """Its many ways and modes are few enough, and short enough, for the run that is meant for them."""
    planned = Options(mix=mix, seed=seed, minutes=3.0).planned()
    assert all(ends_s(item) <= 180.0 for item in planned if item.is_wanted)


def test_the_same_seed_gives_the_same_plan() -> None:
    """A run can be repeated, and another seed is another run."""
    cells = cells_of(ALL)
    assert plan(cells, seed=5, seconds=600.0) == plan(cells, seed=5, seconds=600.0)
    assert plan(cells, seed=5, seconds=600.0) != plan(cells, seed=6, seconds=600.0)


@pytest.mark.parametrize("seed", range(20))
def test_few_faults_last_at_one_time(seed: int) -> None:
    """At most two at any moment, and never two that take a copy of one store away."""
    planned = plan(cells_of(ALL), seed=seed, seconds=600.0)
    assert planned[0].at_s == WARM_UP_S
    assert all(one.at_s <= other.at_s for one, other in pairwise(planned))
    for item in planned:
        lasting = [other for other in planned if other.at_s <= item.at_s < ends_s(other)]
        assert len(lasting) <= OVERLAP_MAX
        assert all(may_meet(one.cell, other.cell) for one, other in combinations(lasting, 2))


@pytest.mark.parametrize("seed", range(5))
def test_without_overlap_each_waits_for_the_one_before(seed: int) -> None:
    """One at a time, with a pause in which what recovers is seen recovering."""
    planned = plan(cells_of("kill"), seed=seed, seconds=60.0, overlap_max=1)
    for one, other in pairwise(planned):
        assert other.at_s >= ends_s(one) + GAP_S - 1e-3


def test_time_that_is_left_is_used() -> None:
    """A run of ten minutes goes through a short mix several times, and ends in time."""
    planned = plan(cells_of("poison"), seed=1, seconds=600.0)
    assert len(planned) > 2 * len(POISON_CLASSES)
    assert all(ends_s(item) <= 600.0 for item in planned)
    assert any(not item.is_wanted for item in planned)


def test_a_short_form_draws_some_cells() -> None:
    """Continuous integration takes a few cells by seed, each once before any comes again."""
    planned = plan(cells_of(ALL), seed=3, seconds=20.0, cell_count=4)
    assert len({item.cell.name for item in planned if item.is_wanted}) == 4
