"""How the suite is dealt out among pytest-xdist's workers."""

from __future__ import annotations

import pytest

from tests.groups import group_of, rank_of, stack_modules


@pytest.mark.parametrize("turn", range(6))
def test_a_module_stays_on_one_worker(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str, turn: int
) -> None:
    """Whichever way the suite is run, no second worker sets up what a module shares."""
    base = tmp_path_factory.getbasetemp()
    # Each worker has its own below one of the run.
    record = (base if worker_id == "master" else base.parent) / "test_groups"
    record.mkdir(exist_ok=True)
    (record / worker_id).touch()
    assert [path.name for path in record.iterdir()] == [worker_id], turn


def test_what_takes_longest_goes_first() -> None:
    """The shared stack, then whole systems by their folder, and unit tests at the end."""
    ids = [
        "tests/unit/payments/test_money.py::test_a",
        "tests/integration/test_b.py::test_b",
        "tests/acceptance/test_chaos.py::test_c",
        "tests/acceptance/test_top.py::test_d",
    ]
    assert sorted(ids, key=rank_of) == ids[::-1]
    assert [group_of(each) for each in ids] == [
        "tests/unit/payments",
        "tests/integration/test_b.py",
        "tests/acceptance/test_chaos.py",
        "stack",
    ]


def test_the_modules_that_share_the_stack_are_found() -> None:
    """Those that ask for it, and not those that start one of their own."""
    names = {path.removeprefix("tests/acceptance/test_") for path in stack_modules()}
    assert names >= {"top.py", "up_down.py"}
    assert names.isdisjoint({"evidence.py", "store_failures.py"})
