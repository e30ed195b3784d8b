"""A child process that may die in a host's place: it tries single entries, one by one.

Frames go in (a length and a pickle of our own values), one byte comes back for each entry that was tried. The
child tries in forks of itself, so that an entry that ends one, or holds it up for too long, costs no new
start. Mistakes that only raise are survived here: isolating them is the host's own work
(actors/isolating.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from payments.open_order import CallAnswer, OpenOrder
from payments.state import PartitionHead
from runtime.faults import StorageUnavailable

# Deciding one entry takes far less than a millisecond. A fork that takes longer ends itself; one that can't
# do that either ends with its whole child, so much later.
ENTRY_S_MAX = 3.0
ENDED_LATE_S = 2.0
# An entry is only deadly if it ends a fork each time: what ended one may have been the machine.
TRIES = 2
# A child reads as fast as a pipe carries; only one that is stopped does not.
SEND_S_MAX = 10.0
# Imports take a second on an idle machine.
START_S_MAX = 30.0
# More children that never got ready mean that the machine, or this code, is at fault: no entry is.
STARTS_MAX = 3

READY = b"R"
SURVIVED = b"."
ENDED = b"x"
LENGTH = struct.Struct(">I")


class MessageJob(NamedTuple):
    """Decode a message, and decide its intake."""

    head: PartitionHead
    raw: tuple[bytes, ...]


class RowJob(NamedTuple):
    """Rebuild an open order from its row, and decide its next steps."""

    head: PartitionHead
    row: Mapping[str, object]


class AnswerJob(NamedTuple):
    """Decide what a PSP's answer means."""

    head: PartitionHead
    order: OpenOrder
    answer: CallAnswer


Job = MessageJob | RowJob | AnswerJob


class SacrificeUnavailable(StorageUnavailable):
    """No child process gets ready: nothing is known about any entry. Try again, as with a store."""

    def __init__(self, reason: str) -> None:
        super().__init__("child process", reason)


class Sacrifice(Protocol):
    """Tries entries at no risk for the host."""

    async def survivors(self, jobs: Sequence[Job]) -> Sequence[bool]:
        """Return for each job whether a process survives it. Raises SacrificeUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class _Child:
    process: asyncio.subprocess.Process
    to_child: asyncio.StreamWriter
    from_child: asyncio.StreamReader


async def survivors_of_rows(
    sacrifice: Sacrifice, head: PartitionHead, rows: Sequence[Mapping[str, object]]
) -> Sequence[bool]:
    """Return for each row of a partition whether a process survives to rebuild it."""
    return await sacrifice.survivors([RowJob(head, row) for row in rows])


class ChildProcessSacrifice:
    """One child at a time, kept between calls, started again where it ended as a whole."""

    def __init__(self, setting: object) -> None:
        """``setting`` is what the child needs to decide (actors/sacrificed.py), picklable."""
        self._setting = setting
        self._child: _Child | None = None
        self._turn = asyncio.Lock()
        self.killed_count = 0
        """Entries that ended whatever tried them."""

    async def survivors(self, jobs: Sequence[Job]) -> Sequence[bool]:
        """See ``Sacrifice``."""
        verdicts: list[bool] = []
        async with self._turn:
            while len(verdicts) < len(jobs):
                rest = jobs[len(verdicts) :]
                count = await self._survived_in_a_row(rest)
                verdicts += [True] * count
                if count < len(rest):
                    verdicts.append(await self._survives(rest[count]))
        return verdicts

    async def close(self) -> None:
        """End the child."""
        async with self._turn:
            await self._end()

    async def _survives(self, job: Job) -> bool:
        """Whether a job that has ended a fork already survives another try."""
        for _ in range(TRIES - 1):
            if await self._survived_in_a_row([job]):
                return True
        self.killed_count += 1
        return False

    async def _survived_in_a_row(self, jobs: Sequence[Job]) -> int:
        """Return how many of these were tried before the first that ended a fork, all in one exchange."""
        if self._child is not None and self._child.process.returncode is not None:
            # Whatever ended it while nothing was tried says nothing about these.
            await self._end()
        child = self._child or await self._start()
        count = 0
        try:
            async with asyncio.timeout(SEND_S_MAX):
                await _send(child, jobs)
            while count < len(jobs):
                async with asyncio.timeout(ENTRY_S_MAX + ENDED_LATE_S):
                    if await child.from_child.readexactly(1) != SURVIVED:
                        break
                count += 1
        except (asyncio.IncompleteReadError, OSError, TimeoutError):
            await self._end()
        except BaseException:
            # Whatever it says now belongs to no later job.
            await self._end()
            raise
        return count

    async def _start(self) -> _Child:
        for _ in range(STARTS_MAX):
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-P", "-m", "actors", "sacrifice"),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    start_new_session=True,
                )
            except OSError as fault:
                # No memory, process or file left: the machine's fault, and no reason for the host to die.
                raise SacrificeUnavailable(str(fault)) from fault
            if process.stdin is None or process.stdout is None:
                raise SacrificeUnavailable("the child has no pipes")
            child = self._child = _Child(process, process.stdin, process.stdout)
            try:
                async with asyncio.timeout(START_S_MAX):
                    await _send(child, self._setting)
                    if await child.from_child.readexactly(1) == READY:
                        return child
            except (asyncio.IncompleteReadError, OSError, TimeoutError):
                pass
            except BaseException:
                # That it is ready would be taken for a verdict.
                await self._end()
                raise
            await self._end()
        raise SacrificeUnavailable(f"none of {STARTS_MAX} child processes got ready")

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.to_child.close()
        # Its forks with it. What ended by itself has none left.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        # To its end: only then asyncio lets go of the pipe.
        await child.from_child.read()
        await child.process.wait()


async def _send(child: _Child, value: object) -> None:
    body = pickle.dumps(value)
    child.to_child.write(LENGTH.pack(len(body)) + body)
    await child.to_child.drain()
