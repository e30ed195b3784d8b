"""The sacrificial child is a real process: what ends it is told from what it survives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
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
    """Good orders, unreadable ones and wrong rows are survived; the child is started anew once."""
    jobs = [a_job(), a_job(MARK), a_job(), MessageJob(HEAD, (b"c", b"payment")), a_job()]
    assert await sacrifice.survivors(jobs) == [True, False, True, True, True]
    assert sacrifice.killed_count == 1


async def test_an_entry_that_never_ends_counts_as_deadly(
    sacrifice: ChildProcessSacrifice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that is stopped gives no answer within its time, and is ended."""
    assert await sacrifice.survivors([a_job()]) == [True]
    monkeypatch.setattr(sacrificing, "ENTRY_S_MAX", 0.2)
    child = sacrifice._child
    assert child is not None
    child.process.send_signal(19)
    assert await sacrifice.survivors([a_job()]) == [False]
    assert await asyncio.wait_for(child.process.wait(), 5) != 0


async def test_a_child_that_never_gets_ready_condemns_nobody() -> None:
    """When no child can start, nothing is known: no entry is set aside for it."""
    broken = ChildProcessSacrifice("no setting at all")
    with pytest.raises(SacrificeUnavailable):
        await broken.survivors([a_job()])
    assert broken.killed_count == 0
