"""Bringing back what dies, and saying so when it dies again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from ops.local.faults import LocalFault
from ops.stack import watching
from ops.stack.deaths import BACKOFF_S_FIRST, BACKOFF_S_MAX, DEATHS_MAX, WINDOW_S, Deaths
from ops.stack.services import Progress
from ops.stack.state import ProcessRecord
from ops.stack.waiting import ServiceDied, together, together_with_death


class FakeService:
    """Dies on request; starts unless told not to."""

    name = "fake"

    def __init__(self) -> None:
        self.start_count = 0
        self.is_up = True
        self.refuses = False

    async def start(self, progress: Progress) -> None:
        self.start_count += 1
        if self.refuses:
            raise LocalFault("no port left")
        self.is_up = True

    def is_alive(self) -> bool:
        return self.is_up

    def describe_death(self) -> str:
        return "it ended with code -9"

    async def stop(self) -> None:
        self.is_up = False

    def processes(self) -> Sequence[ProcessRecord]:
        return []


class Reports:
    """The present problem of the service."""

    def __init__(self) -> None:
        self.problem: str | None = None

    def __call__(self, name: str, problem: str | None) -> None:
        assert name == "fake"
        self.problem = problem


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr("ops.stack.deaths.BACKOFF_S_FIRST", 0.001)
    monkeypatch.setattr("ops.stack.deaths.BACKOFF_S_MAX", 0.002)


async def until(condition: Callable[[], bool]) -> None:
    """Wait, for five seconds at most."""
    for _ in range(5_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not happen")


async def test_a_dead_service_is_started_and_its_problem_forgotten() -> None:
    """One death is mended, told while it lasts, and no problem afterwards."""
    service, reports = FakeService(), Reports()
    watch = asyncio.create_task(watching.keep_alive(service, reports))
    service.is_up = False
    await until(lambda: service.start_count == 1 and reports.problem is None)
    watch.cancel()


async def test_a_service_that_dies_on_and_on_stays_a_problem() -> None:
    """After five deaths within a minute the stack is unhealthy, even while the service runs."""
    service, reports = FakeService(), Reports()
    watch = asyncio.create_task(watching.keep_alive(service, reports))
    for count in range(1, DEATHS_MAX + 1):
        service.is_up = False
        await until(lambda wanted=count: service.start_count == wanted)  # type: ignore[misc]
    await asyncio.sleep(0.01)
    assert reports.problem is not None
    assert "died 5 times" in reports.problem
    assert "code -9" in reports.problem
    watch.cancel()


async def test_a_start_that_fails_is_tried_again() -> None:
    """A refused start is reported with its reason, and does not end the watching."""
    service, reports = FakeService(), Reports()
    service.refuses = True
    watch = asyncio.create_task(watching.keep_alive(service, reports))
    service.is_up = False
    await until(lambda: service.start_count >= 2)
    assert not watch.done()
    service.refuses = False
    await until(lambda: service.is_up)
    watch.cancel()


def test_pauses_grow_to_a_bound_and_deaths_are_forgotten() -> None:
    """Each death within a minute doubles the pause; old ones no longer count."""
    deaths = Deaths()
    pauses: list[float] = []
    for second in range(DEATHS_MAX):
        deaths.note(float(second))
        pauses.append(deaths.backoff_s(float(second)))
    assert pauses == sorted(pauses)
    assert deaths.is_loop(float(DEATHS_MAX))
    assert not deaths.is_loop(DEATHS_MAX + WINDOW_S)
    assert BACKOFF_S_FIRST <= BACKOFF_S_MAX


async def test_the_first_failure_of_several_is_raised_as_itself() -> None:
    """Whoever starts several things at once sees the fault, not a group of them."""

    async def fail() -> None:
        raise LocalFault("first")

    with pytest.raises(LocalFault, match="first"):
        await together(fail(), asyncio.sleep(60))


async def test_a_death_ends_the_waiting() -> None:
    """A start does not wait a minute for a process that has died already."""
    service = FakeService()
    service.is_up = False
    with pytest.raises(ServiceDied, match="code -9"):
        await together_with_death(asyncio.sleep(60), [service])
