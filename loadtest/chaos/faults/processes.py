"""Processes killed and frozen: at any moment, or exactly at a step."""

from __future__ import annotations

import asyncio
import signal
import time

from loadtest.chaos.failures import NotNow, NotPossible
from loadtest.chaos.faults.port import Detail, Scene
from loadtest.chaos.proc import descendants, has_ended, is_stopped, send
from ops.stack.state import ProcessRecord

# A store that reads its log, a busy machine: far longer than anything here takes.
BACK_TIMEOUT_S = 60.0
# What dies often is started again after up to 10 s.
THERE_TIMEOUT_S = 20.0
# Under load every step is reached many times a second.
REACHED_TIMEOUT_S = 15.0
# A stopped process stops as soon as it is given the processor, or its disk has answered.
STOPPED_TIMEOUT_S = 10.0
_LOOK_EVERY_S = 0.01


class Kill:
    """SIGKILL, and the stack is to bring it back by itself."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._count = 0

    async def begin(self) -> Detail:
        records = await living(self._scene)
        self._count = len(records)
        record = self._scene.draw.choice(records)
        # A server's children, too: a postmaster alone would leave its sessions working on.
        pids = [record.pid, *descendants(record.pid)]
        for pid in pids:
            send(pid, signal.SIGKILL)
        while not all(map(has_ended, pids)):  # noqa: ASYNC110  # others reap them, not we
            await asyncio.sleep(_LOOK_EVERY_S)
        return {"name": record.name, "pid": record.pid, "of": self._count}

    async def heal(self) -> Detail:
        return await back_again(self._scene, self._count)


class Freeze:
    """SIGSTOP of a process and its children; SIGCONT ends it."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._record: ProcessRecord | None = None
        self._pids: list[int] = []
        self._count = 0

    async def begin(self) -> Detail:
        records = await living(self._scene)
        self._count = len(records)
        self._record = record = self._scene.draw.choice(records)
        self._pids = [record.pid, *descendants(record.pid)]
        for pid in self._pids:
            send(pid, signal.SIGSTOP)
        sent_s = time.monotonic()
        while not all(is_stopped(pid) or has_ended(pid) for pid in self._pids):
            if time.monotonic() - sent_s > STOPPED_TIMEOUT_S:
                still_count = sum(map(is_stopped, self._pids))
                raise NotNow(
                    f"{record.name} did not stand still in {STOPPED_TIMEOUT_S:.0f} s:"
                    f" {still_count} of its {len(self._pids)} processes did"
                )
            await asyncio.sleep(_LOOK_EVERY_S)
        # From now on it surely stands still; on a busy machine that is a second after the fault's turn came.
        stopped_ns = time.monotonic_ns()
        return {
            "at_ns": stopped_ns,
            "name": record.name,
            "pid": record.pid,
            "processes": len(self._pids),
        }

    async def heal(self) -> Detail:
        is_same = self._record is not None and self._record.is_alive()
        for pid in reversed(self._pids):
            # A pid that was taken by a later process is stopped by nobody, and SIGCONT harmless.
            send(pid, signal.SIGCONT)
        back = await back_again(self._scene, self._count)
        return {**back, "was_killed_meanwhile": not is_same}


class AtStep:
    """The first process that reaches a named step is killed or frozen there."""

    def __init__(self, scene: Scene, word: str) -> None:
        self._scene = scene
        self._word = word
        self._count = 0
        self._frozen: list[int] = []

    async def begin(self) -> Detail:
        scene = self._scene
        records = await living(scene)
        self._count = len(records)
        order = scene.stack.crash_order
        part = order.with_suffix(".part")
        part.write_text(f"{self._word} {scene.cell.step}\n", encoding="ascii")
        part.replace(order)
        began_s = time.monotonic()
        while order.exists():
            if time.monotonic() - began_s > REACHED_TIMEOUT_S:
                order.unlink(missing_ok=True)
                raise NotNow(f"nobody reached {scene.cell.step} in {REACHED_TIMEOUT_S:.0f} s")
            await asyncio.sleep(_LOOK_EVERY_S)
        reached_ns, reached_s = time.monotonic_ns(), time.monotonic() - began_s
        # The signal follows the removal at once.
        await asyncio.sleep(5 * _LOOK_EVERY_S)
        self._frozen = [record.pid for record in records if is_stopped(record.pid)]
        hit = [record.name for record in records if not record.is_alive()] or self._frozen
        return {"at_ns": reached_ns, "hit": hit, "reached_after_s": round(reached_s, 3)}

    async def heal(self) -> Detail:
        self._scene.stack.crash_order.unlink(missing_ok=True)
        for pid in self._frozen:
            send(pid, signal.SIGCONT)
        return await back_again(self._scene, self._count)


async def living(scene: Scene) -> list[ProcessRecord]:
    """The target's processes, once there is one. Raises NotPossible, NotNow."""
    stack, target = scene.stack, scene.cell.target
    if target.startswith("psp_") and target not in stack.routing.psp_ports:
        raise NotPossible(f"this stack runs no {target}")
    if await stack.wait_back(target, 1, THERE_TIMEOUT_S) is None:
        raise NotNow(f"for {THERE_TIMEOUT_S:.0f} s there was no {target}")
    return stack.records(target)


async def back_again(scene: Scene, count: int) -> Detail:
    """Wait until as many processes are there as were before."""
    back_after_s = await scene.stack.wait_back(scene.cell.target, count, BACK_TIMEOUT_S)
    if back_after_s is None:
        return {"is_back": False}
    whole: dict[str, float] = {}
    for store in sorted(scene.cell.touches):
        # Its other copy must not be lost before this one is one again.
        whole["whole_after_s"] = round(await scene.stack.wait_whole(store, BACK_TIMEOUT_S), 3)
    return {"is_back": True, "back_after_s": round(back_after_s, 3), **whole}
