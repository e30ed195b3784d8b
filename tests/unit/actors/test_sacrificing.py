"""The sacrificial child is a real process: what ends it is told from what it survives."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from actors import sacrificing
from actors.sacrificed import Setting
from actors.sacrificing import (
    ChildProcessSacrifice,
    MessageJob,
    SacrificeUnavailable,
)
from payments.retry_policy import RetryPolicy
from payments.state import PartitionHead
from psp.settings import PspSettings
from storage.envelope import encode_command
from tests.queue_commands import a_command

MARK = "ends-its-host"
HEAD = PartitionHead(
    partition_index=1,
    epoch=1,
    batch_seq=0,
    order_no_last=0,
    account_no_last=0,
    chain_hash=bytes(32),
)
SETTING = Setting(
    psps=(PspSettings(name="psp", kind="in_process", account="default", seed=1),),
    policy=RetryPolicy(),
    is_sandbox=True,
)


def a_job(description: str = "order") -> MessageJob:
    """Take in one order."""
    return MessageJob(HEAD, encode_command(a_command(uuid4())._replace(description=description)))


@pytest.fixture
async def sacrifice(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ChildProcessSacrifice]:
    """A child that dies of the mark, as of a parser's defect."""
    monkeypatch.setenv("TALLY_CRASH_ON", MARK)
    made = ChildProcessSacrifice(SETTING)
    yield made
    await made.close()


async def test_only_what_ends_the_child_is_told_apart(sacrifice: ChildProcessSacrifice) -> None:
    """Good orders, unreadable ones and wrong rows are survived; the child stays, whatever ends its forks."""
    assert await sacrifice.survivors([a_job()]) == [True]
    child = sacrifice._child
    jobs = [a_job(MARK), a_job(), MessageJob(HEAD, (b"c", b"payment")), a_job(MARK), a_job()]
    assert await sacrifice.survivors(jobs) == [False, True, True, False, True]
    assert sacrifice.killed_count == 2
    assert sacrifice._child is child is not None


async def test_a_large_portion_is_tried_in_one_exchange(sacrifice: ChildProcessSacrifice) -> None:
    """More than a pipe holds, the deadly ones first, in the middle and last: each verdict is its own entry's."""
    deadly = {0, 150, 299}
    jobs = [a_job(MARK if number in deadly else "order " * 60) for number in range(300)]
    survived = await sacrifice.survivors(jobs)
    assert {number for number, is_safe in enumerate(survived) if not is_safe} == deadly
    assert sacrifice.killed_count == len(deadly)


def fork_of(sacrifice: ChildProcessSacrifice) -> int:
    """The process id of what tries the next entry."""
    assert sacrifice._child is not None
    parent = sacrifice._child.process.pid
    (pid,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(pid)


async def test_an_entry_that_never_ends_counts_as_deadly(
    sacrifice: ChildProcessSacrifice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork that is stopped gives no answer within its time; then the child is ended with it, and tried anew."""
    assert await sacrifice.survivors([a_job()]) == [True]
    monkeypatch.setattr(sacrificing, "ENTRY_S_MAX", 0.1)
    monkeypatch.setattr(sacrificing, "ENDED_LATE_S", 0.1)
    monkeypatch.setattr(sacrificing, "TRIES", 1)
    child, fork = sacrifice._child, fork_of(sacrifice)
    assert child is not None
    os.kill(fork, signal.SIGSTOP)
    assert await sacrifice.survivors([a_job()]) == [False]
    assert await asyncio.wait_for(child.process.wait(), 5) != 0
    async with asyncio.timeout(5):
        while is_running(fork):
            await asyncio.sleep(0.01)


async def test_who_was_ended_by_the_machine_is_not_deadly(sacrifice: ChildProcessSacrifice) -> None:
    """What ends a fork between two entries, or a child during one, condemns no entry."""
    assert await sacrifice.survivors([a_job()]) == [True]
    child, fork = sacrifice._child, fork_of(sacrifice)
    assert child is not None
    os.kill(fork, signal.SIGKILL)
    async with asyncio.timeout(5):
        while is_running(fork):
            await asyncio.sleep(0.01)
    assert await sacrifice.survivors([a_job()]) == [True]
    assert sacrifice._child is child
    child.process.kill()
    assert await sacrifice.survivors([a_job()]) == [True]
    assert sacrifice.killed_count == 0


def is_running(pid: int) -> bool:
    """Whether the process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_child_that_never_gets_ready_condemns_nobody() -> None:
    """When no child can start, nothing is known: no entry is set aside for it."""
    broken = ChildProcessSacrifice("no setting at all")
    with pytest.raises(SacrificeUnavailable):
        await broken.survivors([a_job()])
    assert broken.killed_count == 0
