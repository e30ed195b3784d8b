"""How the suite is dealt out among pytest-xdist's workers."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.groups import (
    LONGEST,
    ROOT,
    STACK_GROUP,
    GroupScheduling,
    group_of,
    rank_of,
    stack_modules,
)


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
    """The longest groups, then whole systems by their folder, and unit tests at the end."""
    ids = [
        "tests/unit/payments/test_money.py::test_a",
        "tests/integration/test_b.py::test_b",
        "tests/acceptance/test_chaos.py::test_c",
        "tests/integration/test_verify.py::test_v",
        "tests/acceptance/test_top.py::test_d",
    ]
    assert sorted(ids, key=rank_of) == ids[::-1]
    assert [group_of(each) for each in ids] == [
        "tests/unit/payments",
        "tests/integration/test_b.py",
        "tests/acceptance/test_chaos.py",
        "tests/integration/test_verify.py",
        "stack",
    ]
    # One that was renamed would go last, and a worker would be alone with it.
    assert all(group == STACK_GROUP or (ROOT / group).is_file() for group in LONGEST)


def test_the_modules_that_share_the_stack_are_found() -> None:
    """Those that ask for it, and not those that start one of their own."""
    names = {path.removeprefix("tests/acceptance/test_") for path in stack_modules()}
    assert names >= {"top.py", "up_down.py"}
    assert names.isdisjoint({"evidence.py", "store_failures.py"})


class Worker:
    """Runs what it is dealt, in its order, and notes it in a record of all workers.

    As pytest-xdist's does, it begins a test only when it knows the next one, or that there is none.
    """

    def __init__(self, name: str, record: list[str], deadly: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.has_died = False
        self._record = record
        self._deadly = deadly
        self._dealt: list[int] = []

    def send_runtest_some(self, indexes: Sequence[int]) -> None:
        self._dealt += indexes

    def shutdown(self) -> None:
        self.shutting_down = True

    def run_next(self, ids: Sequence[str], scheduling: Any) -> bool:
        """Run one test; False when there is none to begin."""
        if len(self._dealt) < (1 if self.shutting_down else 2):
            return False
        index = self._dealt.pop(0)
        self._record.append(ids[index])
        if ids[index] == self._deadly:
            self.has_died = True
        else:
            scheduling.mark_test_complete(self, index)
        return True


@pytest.mark.parametrize("deadly_number", range(8))
def test_a_test_that_ends_its_worker_runs_once_as_all_others(deadly_number: int) -> None:
    """Whichever it is: it fails, and a fresh worker goes on with what is left, not with that test."""
    counts = {
        "tests/contract/test_a.py": 2,
        "tests/contract/test_b.py": 3,
        "tests/unit/c/test_c.py": 3,
    }
    ids = [f"{name}::test_{number}" for name, count in counts.items() for number in range(count)]
    deadly, record = ids[deadly_number], list[str]()
    config = SimpleNamespace(
        getvalue=lambda _: ["popen"], option=SimpleNamespace(loadscopereorder=True)
    )
    scheduling: Any = GroupScheduling(cast(pytest.Config, config))

    def run_to_end(name: str) -> Worker:
        worker = Worker(name, record, deadly)
        scheduling.add_node(worker)
        scheduling.add_node_collection(worker, ids)
        scheduling.schedule()
        while worker.run_next(ids, scheduling) and not worker.has_died:
            pass
        return worker

    first = run_to_end("gw0")
    assert first.has_died
    assert scheduling.remove_node(first) == deadly
    if scheduling.has_pending:
        second = run_to_end("gw1")
        assert scheduling.remove_node(second) is None
    assert sorted(record) == sorted(ids)
    assert not scheduling.has_pending


def test_a_third_worker_gets_what_needs_no_servers_first() -> None:
    """Whatever is dealt out before it; then it gets what the first two get, and every test runs once."""
    counts = {
        "tests/acceptance/test_a.py": 4,
        "tests/integration/test_b.py": 3,
        "tests/integration/test_c.py": 3,
        "tests/contract/test_k.py": 2,
        "tests/migration/test_m.py": 1,
        "tests/simulation/test_s.py": 2,
        "tests/unit/test_d.py": 1,
        "tests/unit/e/test_e.py": 2,
        "tests/unit/f/test_f.py": 2,
    }
    ids = [f"{name}::test_{number}" for name, count in counts.items() for number in range(count)]
    config = SimpleNamespace(
        getvalue=lambda _: ["popen"] * 3, option=SimpleNamespace(loadscopereorder=True)
    )
    scheduling: Any = GroupScheduling(cast(pytest.Config, config))
    records: list[list[str]] = [[], [], []]
    workers = [Worker(f"gw{place}", record, "") for place, record in enumerate(records)]
    for worker in workers:
        scheduling.add_node(worker)
    for worker in workers:
        scheduling.add_node_collection(worker, ids)
    scheduling.schedule()
    first, _, third = workers
    light = [each for each in ids if each.startswith(("tests/simulation/", "tests/unit/"))]
    while len(records[2]) < len(light):
        assert third.run_next(ids, scheduling)
    assert records[2] == light
    # Nothing of that is left for the others.
    while first.run_next(ids, scheduling):
        pass
    assert not any(each in light for each in records[0])
    assert third.run_next(ids, scheduling)
    assert records[2][-1] not in light
    while sum(worker.run_next(ids, scheduling) for worker in workers):
        pass
    assert sorted(records[0] + records[1] + records[2]) == sorted(ids)
    assert not scheduling.has_pending


def test_what_a_dead_worker_left_is_run_while_all_others_end() -> None:
    """Its clone takes its place, though others that were told to end are still there, and begins a single test, too."""
    ids = [
        "tests/acceptance/test_a.py::test_0",
        "tests/acceptance/test_a.py::test_1",
        "tests/acceptance/test_b.py::test_0",
        "tests/unit/c/test_c.py::test_0",
    ]
    config = SimpleNamespace(
        getvalue=lambda _: ["popen"] * 3, option=SimpleNamespace(loadscopereorder=True)
    )
    scheduling: Any = GroupScheduling(cast(pytest.Config, config))
    record: list[str] = []
    workers = [Worker(f"gw{place}", record, ids[0]) for place in range(3)]
    for worker in workers:
        scheduling.add_node(worker)
    for worker in workers:
        scheduling.add_node_collection(worker, ids)
    scheduling.schedule()
    assert all(worker.shutting_down for worker in workers)
    assert workers[0].run_next(ids, scheduling)
    clone = Worker("gw3", record, "")
    scheduling.add_node(clone)
    # Before the clone has collected anything.
    assert scheduling.remove_node(workers[0]) == ids[0]
    scheduling.add_node_collection(clone, ids)
    scheduling.schedule()
    while sum(worker.run_next(ids, scheduling) for worker in (*workers[1:], clone)):
        pass
    assert sorted(record) == sorted(ids)
    assert not scheduling.has_pending


def test_a_clone_that_found_other_tests_ends_the_run() -> None:
    """It can't be dealt any, and nobody would run what the dead worker left: the run would never end."""
    ids = ["tests/acceptance/test_a.py::test_0", "tests/acceptance/test_b.py::test_0"]
    config = SimpleNamespace(
        getvalue=lambda _: ["popen"], option=SimpleNamespace(loadscopereorder=True)
    )
    scheduling: Any = GroupScheduling(cast(pytest.Config, config))
    worker, clone = Worker("gw0", [], ids[0]), Worker("gw1", [], "")
    scheduling.add_node(worker)
    scheduling.add_node_collection(worker, ids)
    scheduling.schedule()
    assert worker.run_next(ids, scheduling)
    assert scheduling.remove_node(worker) == ids[0]
    scheduling.add_node(clone)
    with pytest.raises(RuntimeError, match="changed during the run"):
        scheduling.add_node_collection(clone, [*ids, "tests/acceptance/test_new.py::test_0"])
