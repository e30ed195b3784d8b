"""Which tests run on one pytest-xdist worker, one after the other, and which of them go first.

pytest-xdist's own ``loadgroup`` passes groups on inside of test ids, which pytest 9.2 no longer lets it
change: it then deals out every test by itself, and a module's servers start on every worker
(pytest-dev/pytest-xdist#1386). So the groups are read here, from the ids alone.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

STACK_GROUP = "stack"
"""Of the modules that share the session's stack: it takes seconds to start, and its share of the machine."""

ROOT = Path(__file__).parents[1]

# The longest groups go first, then what waits most. The thousands of short tests go last: they even out how
# long each worker takes.
LONGEST = (
    STACK_GROUP,
    "tests/integration/test_verify.py",
    "tests/integration/test_verify_records.py",
)
FOLDERS = ("acceptance", "integration", "contract", "simulation", "migration")

# More would starve each other's servers on two cores, and tests with servers wait for a fifth of their time. What
# needs none fills that in, on any further worker; when no more of it is left, a third of both processors would be idle.
WORKERS_WITH_SERVERS = 2
_UNIT = "tests/unit/"
_WITHOUT_SERVERS = (_UNIT, "tests/simulation/")


@cache
def stack_modules() -> frozenset[str]:
    """The modules with a test that asks for the fixture ``stack``, relative to the repository."""
    return frozenset(
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests" / "acceptance").glob("test_*.py")
        if any(
            node.name.startswith("test_") and "stack" in {each.arg for each in node.args.args}
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        )
    )


def group_of(nodeid: str) -> str:
    """The group of a test: its module, or its folder for unit tests, which share nothing but are short."""
    path = nodeid.partition("::")[0]
    if path in stack_modules():
        return STACK_GROUP
    return str(PurePosixPath(path).parent) if path.startswith(_UNIT) else path


def rank_of(nodeid: str) -> tuple[int, int]:
    """When a test's group is dealt out: the lowest first."""
    group = group_of(nodeid)
    folder = nodeid.split("/")[1]
    return (
        LONGEST.index(group) if group in LONGEST else len(LONGEST),
        FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS),
    )


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Deals out whole groups, in the order in which the tests were collected.

    Workers after the first two get groups that need no servers for as long as there are any.
    """

    def __init__(self, config: pytest.Config, log: object = None) -> None:
        super().__init__(config, log)
        # Otherwise the groups with the most tests go first, which are the quickest.
        config.option.loadscopereorder = False

    def remove_node(self, node: WorkerController) -> str | None:
        """Deal out again what a worker left, but not the test that ended it, which would end the next one.

        Returns that test, which fails.
        """
        groups: dict[str, dict[str, bool]] = self.assigned_work[node]
        left = (test for tests in groups.values() for test, is_over in tests.items() if not is_over)
        if (ended_it := next(left, None)) is not None:
            groups[group_of(ended_it)][ended_it] = True
        super().remove_node(node)
        return ended_it

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """Take in which tests a worker has found. Raises RuntimeError where they are not those of the run.

        A worker that took the place of one that died could not be dealt any of them, and the run would wait for it.
        """
        super().add_node_collection(node, collection)
        if node not in self.registered_collections:
            raise RuntimeError("the tests were changed during the run; start it again")

    def _assign_work_unit(self, node: WorkerController) -> None:
        # One that is told to end may be there for long, and takes nothing any more.
        taking = [each for each in self.nodes if each is node or not each.shutting_down]
        if taking.index(node) >= WORKERS_WITH_SERVERS:
            light = (group for group in self.workqueue if f"{group}/".startswith(_WITHOUT_SERVERS))
            if (first := next(light, None)) is not None:
                self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)

    def _reschedule(self, node: WorkerController) -> None:
        if node not in self.registered_collections:
            # It took the place of one that died, and collects: it is asked again after that.
            return
        super()._reschedule(node)
        if not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            # A worker begins a test once it knows the next one, or that there is none.
            self._reschedule(node)

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
