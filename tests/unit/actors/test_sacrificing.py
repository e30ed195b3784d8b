"""The sacrificial child is a real process: what ends it is told from what it survives."""

from __future__ import annotations

import asyncio
import errno
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


async def test_a_machine_that_starts_no_process_condemns_nobody(
    sacrifice: ChildProcessSacrifice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host must not die of it: it tries again later, as with a store that is away."""

    async def refused(*_arguments: object, **_options: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "create_subprocess_exec", refused)
        with pytest.raises(SacrificeUnavailable, match="temporarily unavailable"):
            await sacrifice.survivors([a_job()])
    assert await sacrifice.survivors([a_job()]) == [True]
    assert sacrifice.killed_count == 0


async def test_who_gives_up_while_a_child_starts_leaves_no_verdict_behind(
    sacrifice: ChildProcessSacrifice,
) -> None:
    """The next jobs get verdicts of their own, not what the child had still to say."""
    given_up = asyncio.create_task(sacrifice.survivors([a_job()]))
    async with asyncio.timeout(10):
        while sacrifice._child is None:
            await asyncio.sleep(0.001)
    child = sacrifice._child
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert await sacrifice.survivors([a_job(MARK), a_job(), a_job(MARK)]) == [False, True, False]
    assert child.process.returncode is not None


async def test_a_child_that_died_while_idle_costs_the_next_entry_no_try(
    sacrifice: ChildProcessSacrifice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was being tried: the next entry still has all its tries."""
    monkeypatch.setattr(sacrificing, "TRIES", 1)
    assert await sacrifice.survivors([a_job()]) == [True]
    child = sacrifice._child
    assert child is not None
    os.killpg(child.process.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        await child.process.wait()
    assert await sacrifice.survivors([a_job()]) == [True]
    assert sacrifice.killed_count == 0


async def test_a_child_that_reads_nothing_holds_nobody_up_for_ever(
    sacrifice: ChildProcessSacrifice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is larger than a pipe waits for a reader: a stopped child is ended, and another one tries."""
    monkeypatch.setattr(sacrificing, "SEND_S_MAX", 0.2)
    assert await sacrifice.survivors([a_job()]) == [True]
    child, fork = sacrifice._child, fork_of(sacrifice)
    assert child is not None
    os.kill(fork, signal.SIGSTOP)
    jobs = [a_job("order " * 60) for _ in range(1000)]
    async with asyncio.timeout(20):
        assert all(await sacrifice.survivors(jobs))
    assert sacrifice._child is not child
    assert sacrifice.killed_count == 0
