"""Waiting for owners: who is waited for, and how long."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest

from ops.stack import waiting
from ops.stack.waiting import canceled, together, wait_for_owners
from storage.read_pool import ReadPool

SECOND_COMES_AT_LOOK = 6


class Books:
    """Answers with hosts whose counters rise: the first owns everything, the second comes later."""

    def __init__(self, wished: int | None, *, comes_at_look: int) -> None:
        self._wished = wished
        self._comes_at_look = comes_at_look
        self.look_count = 0

    async def fetch(self, statement: str, *_values: object) -> list[dict[str, Any]]:
        """Answer the two questions that are asked."""
        if "host_lease" not in statement:
            return (
                [] if self._wished is None else [{"key": "host_count", "value": str(self._wished)}]
            )
        self.look_count += 1
        rows = [self._host(0, [0, 1])]
        if self.look_count >= self._comes_at_look:
            rows.append(self._host(1, []))
        return rows

    def _host(self, index: int, partitions: list[int]) -> dict[str, Any]:
        return {
            "incarnation": UUID(int=index),
            "host_name": f"host-{index}",
            "node": "node",
            "pid": index + 1,
            "counter": self.look_count,
            "started_at": datetime(2026, 1, 1, tzinfo=UTC),
            "metrics_address": None,
            "age_s": 1.0,
            "partition_indexes": partitions,
        }


@pytest.mark.parametrize(
    ("wished", "default", "look_count"),
    [
        (None, 1, 2),
        (1, 2, 2),
        (None, 2, SECOND_COMES_AT_LOOK + 1),
        (2, 1, SECOND_COMES_AT_LOOK + 1),
    ],
)
async def test_as_many_hosts_as_shall_run_are_waited_for(
    monkeypatch: pytest.MonkeyPatch, wished: int | None, default: int, look_count: int
) -> None:
    """That one host owns everything is not all: the operator's number counts, else the default."""
    monkeypatch.setattr(waiting, "_LOOK_EVERY_S", 0.0)
    books = Books(wished, comes_at_look=SECOND_COMES_AT_LOOK)
    await wait_for_owners(cast("ReadPool", books), 2, default_host_count=default)
    assert books.look_count == look_count


async def test_a_host_that_never_comes_does_not_hold_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Payments go on with fewer hosts, so the others are waited for a little only."""
    monkeypatch.setattr(waiting, "_LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(waiting, "_OTHERS_TIMEOUT_S", 0.02)
    books = Books(None, comes_at_look=1_000_000)
    await wait_for_owners(cast("ReadPool", books), 2, default_host_count=2)
    assert books.look_count > 2


async def test_a_watch_that_loses_the_request_to_end_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a watch waits for may be done in the very turn in which it is canceled: it ends nevertheless."""
    monkeypatch.setattr(waiting, "CANCEL_AGAIN_S", 0.02)
    answers: list[asyncio.Future[None]] = []

    async def watch() -> None:
        while True:
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            answers.append(answer)
            try:
                await answer
            except asyncio.CancelledError:
                # As wait_for of Python 3.11 does, of any version here.
                if len(answers) > 2:
                    raise

    task = asyncio.create_task(watch())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await canceled(task)
    assert len(answers) == 3
    assert task.cancelled()


async def test_ending_tasks_leaves_their_failures_to_be_read() -> None:
    """A task that fails, or failed before, is no failure of ending it."""

    async def fail() -> None:
        raise ValueError("a defect")

    async def fail_at_end() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("a defect")

    failed, failing = asyncio.create_task(fail()), asyncio.create_task(fail_at_end())
    await asyncio.sleep(0)
    await canceled(failed, failing)
    assert isinstance(failed.exception(), ValueError)
    assert isinstance(failing.exception(), ValueError)


async def test_work_that_loses_the_request_to_end_does_not_hold_up_a_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A start that is canceled ends, though one of its works lost the first request."""
    monkeypatch.setattr(waiting, "CANCEL_AGAIN_S", 0.02)
    requests: list[str] = []

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                requests.append("end")
                if len(requests) > 1:
                    raise

    starting = asyncio.create_task(together(stubborn(), asyncio.sleep(60)))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        await canceled(starting)
    assert starting.cancelled()
    assert len(requests) > 1


async def test_the_first_failure_ends_the_others_and_is_raised() -> None:
    """What fails first is raised as itself, once the others have ended."""
    ended: list[str] = []

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no port")

    async def wait_long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("other")

    with pytest.raises(ValueError, match="no port"):
        await together(wait_long(), fail())
    assert ended == ["other"]
    await together(asyncio.sleep(0), asyncio.sleep(0))
