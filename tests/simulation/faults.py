"""Carries faults out, and takes them back: by their time, or when everything is healed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from loadtest.checker.records import FaultPhase, FaultRecord
from tests.simulation.net import Net
from tests.simulation.processes import SimProcess
from tests.simulation.records import to_ns
from tests.simulation.script import ALL, Fault

if TYPE_CHECKING:
    from tests.simulation.world import World

# A stepped wall clock is an hour off, one way or the other.
CLOCK_STEP_S = 3_600.0

Undo = Callable[[], object]


class Director:
    """Knows how each fault is done and undone."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._undo: dict[object, Undo] = {}
        self.applied: Counter[str] = Counter()
        self.record: list[FaultRecord] = []
        self._is_healed = False
        self._waiting: list[asyncio.Future[None]] = []

    async def carry_out(self, fault: Fault) -> None:
        """Wait for a fault's time, do it, and undo it after its duration."""
        await asyncio.sleep(fault.at_s)
        if fault.after and not self._is_healed:
            await self._moment(fault)
        if self._is_healed:
            return
        undo = self._begin(fault)
        self._undo[fault] = undo
        self.applied[fault.kind] += 1
        cell = f"{fault.kind}/{fault.target_no}/{self.applied[fault.kind]}"
        self._note(cell, FaultPhase.BEGIN)
        self._world.loop.effect(f"fault {fault.kind} {fault.target_no} for {fault.for_s:.3f}")
        await asyncio.sleep(fault.for_s)
        self._finish(fault)
        self._note(cell, FaultPhase.END)

    def _note(self, cell: str, phase: FaultPhase) -> None:
        self.record.append(FaultRecord(to_ns(self._world.loop.time()), cell, phase))

    async def _moment(self, fault: Fault) -> None:
        """Wait for the next effect of its kind, and a moment longer."""
        came = asyncio.get_running_loop().create_future()
        self._waiting.append(came)

        def come() -> None:
            if not came.done():
                came.set_result(None)

        watcher = (fault.after, come)
        self._world.loop.watchers.append(watcher)
        await came
        self._world.loop.watchers.remove(watcher)
        if fault.lag_s:
            await asyncio.sleep(fault.lag_s)

    def heal(self) -> None:
        """Undo everything at once; nothing new begins."""
        self._is_healed = True
        for came in self._waiting:
            if not came.done():
                came.set_result(None)
        self._world.loop.effect("everything heals")
        for fault in list(self._undo):
            self._finish(fault)
        redis, postgres = self._world.stores.redis, self._world.stores.postgres
        redis.cell.thaw()
        postgres.cell.thaw()
        redis.restart()
        postgres.restart()
        for process in self._world.processes:
            # Also clocks: a gateway whose clock is wrong takes every webhook for a stale one, so it has to
            # be set right before what disputes took can be known.
            process.clock.offset_s = 0.0
            process.cell.thaw()
            process.start()

    def _finish(self, fault: object) -> None:
        undo = self._undo.pop(fault, None)
        if undo is not None:
            undo()

    def _begin(self, fault: Fault) -> Undo:
        kind, _, action = fault.kind.partition("_")
        match kind:
            case "host":
                return self._of_processes(self._world.hosts, fault, action)
            case "gateway":
                return self._of_processes(self._world.gateways, fault, action)
            case "redis":
                return self._of_redis(fault)
            case "postgres":
                return self._of_postgres(fault)
            case "psp":
                return self._of_psp(fault)
            case _:
                return self._step_clock(fault)

    def _of_processes(self, places: Sequence[SimProcess], fault: Fault, action: str) -> Undo:
        targets = places if fault.target_no == ALL else [places[fault.target_no % len(places)]]
        undos = [self._of_process(process, action) for process in targets]
        return lambda: [undo() for undo in undos]

    def _of_process(self, process: SimProcess, action: str) -> Undo:
        if action == "kill":
            process.kill()
            return process.start
        if action == "drain":
            self._world.draining.add(process.name)
            return lambda: self._world.draining.discard(process.name)
        frozen = process.cell
        frozen.freeze()
        return frozen.thaw

    def _of_redis(self, fault: Fault) -> Undo:
        redis = self._world.stores.redis
        match fault.kind:
            case "redis_kill":
                redis.crash()
                return redis.restart
            case "redis_promote":
                redis.crash()
                return redis.promote
            case "redis_freeze":
                frozen = redis.cell
                frozen.freeze()
                return frozen.thaw
            case "redis_replica_freeze":
                redis.freeze_replica()
                return redis.thaw_replica
            case _:
                return self._stall("redis", self._world.net, fault)

    def _of_postgres(self, fault: Fault) -> Undo:
        postgres = self._world.stores.postgres
        match fault.kind:
            case "postgres_kill":
                postgres.crash()
                return postgres.restart
            case "postgres_promote":
                postgres.crash()
                return postgres.promote
            case "postgres_freeze":
                frozen = postgres.cell
                frozen.freeze()
                return frozen.thaw
            case "postgres_standby_freeze":
                postgres.freeze_standby()
                return postgres.thaw_standby
            case _:
                return self._stall("postgres", self._world.net, fault)

    def _of_psp(self, fault: Fault) -> Undo:
        psps = list(self._world.stores.psps.values())
        targets = psps if fault.target_no == ALL else [psps[fault.target_no % len(psps)]]
        if fault.kind == "psp_stall":
            undos = [self._stall(psp.link, self._world.psp_net, fault) for psp in targets]
            return lambda: [undo() for undo in undos]
        for psp in targets:
            psp.is_down = True

        def come_back() -> None:
            for psp in targets:
                psp.is_down = False

        return come_back

    def _stall(self, link: str, net: Net, fault: Fault) -> Undo:
        """Nothing gets through for a while; what leaves meanwhile arrives afterwards."""
        net.stalled[link] = self._world.loop.time() + fault.for_s
        return lambda: net.stalled.pop(link, None)

    def _step_clock(self, fault: Fault) -> Undo:
        places = self._world.processes
        process = places[fault.target_no % len(places)]
        process.clock.offset_s += CLOCK_STEP_S if fault.for_s * 1_000 % 2 < 1 else -CLOCK_STEP_S
        return lambda: None
