"""Whole stacks for acceptance tests: one that all share, and further ones to break."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.acceptance.running_stack import RunningStack
from tests.groups import STACK_GROUP, group_of

StackFactory = Callable[..., RunningStack]

_STACK = pytest.StashKey[RunningStack]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder's tests, and give them time: a stack takes some seconds to start."""
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            uses_stack = "stack" in getattr(item, "fixturenames", ())
            if uses_stack and group_of(item.nodeid) != STACK_GROUP:
                raise pytest.UsageError(f"{item.nodeid} shares the stack unseen by tests/groups.py")
            item.add_marker(pytest.mark.acceptance)
            item.add_marker(pytest.mark.timeout(400))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop the shared stack after the last of its group: it would take its share of the machine to the end."""
    is_last = nextitem is None or group_of(nextitem.nodeid) != STACK_GROUP
    if is_last and (running := item.config.stash.get(_STACK, None)) is not None:
        running.remove()
        del item.config.stash[_STACK]


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[RunningStack]:
    """The stack as `tally up` starts it, with Ray. Tests that share it leave it as they found it."""
    running = RunningStack()
    request.config.stash[_STACK] = running
    try:
        running.up("--no-demo")
        yield running
    finally:
        running.remove()


@pytest.fixture
def stack_factory() -> Iterator[StackFactory]:
    """Makes stacks of the test's own: ``make(environment={"TALLY_CRASH_AT": …})``, then ``up()``.

    They are stopped and deleted after the test. ``up("--hosts-without-ray")`` starts 5 s sooner.
    """
    made: list[RunningStack] = []

    def make(*, environment: Mapping[str, str] | None = None) -> RunningStack:
        made.append(RunningStack(environment=environment))
        return made[-1]

    yield make
    for running in made:
        running.remove()
