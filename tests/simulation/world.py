"""One run: builds the world of a script, lets it go wrong, heals it, waits, and says what does not hold."""

from __future__ import annotations

import asyncio
import random
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

import structlog

from loadtest.checker.records import PoisonRecord, SnapshotRecord
from payments.commands import OperationCommand
from payments.partitioning import partition_index
from storage.envelope import queue_entry
from storage.queue_ports import AppendStatus
from tests.fakes.fake_queue import append_entry
from tests.fakes.fake_queue_server import id_text
from tests.queue_commands import with_unreadable_payload
from tests.simulation.checks import Violation, check, unjudged
from tests.simulation.clients import ACKNOWLEDGED, Clients, command_of
from tests.simulation.faults import Director
from tests.simulation.loop import CELL, SimLoop, SimulationStuck, running_loop
from tests.simulation.net import Net, Weather
from tests.simulation.processes import BASE_TIME, GatewayProcess, HostProcess, SimProcess, Stores
from tests.simulation.records import Evidence, frozen_replicas, snapshot_of, to_ns
from tests.simulation.script import Knobs, Operation, Script
from tests.simulation.webhooks import WebhookLine

# After everything healed: the longest wait for a retry is seconds, a lease's lapse and a claim are two.
LIVENESS_S_MAX = 120.0
LIVENESS_LOOK_S = 0.25
SNAPSHOT_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run."""

    trace_hash: str
    violations: list[Violation]
    step_count: int
    virtual_s: float
    order_count: int
    charge_count: int
    applied: dict[str, int]
    """Faults that were carried out, by kind."""
    undone_count: int
    """Commits that the books showed after a start in place, and a promotion undid."""
    tail: list[str]
    """The last effects and log lines."""


class World:
    """Everything of one run."""

    def __init__(self, loop: SimLoop, script: Script) -> None:
        knobs, seed = script.knobs, script.seed
        self.loop = loop
        self.script = script
        self.halted: list[str] = []
        self._poison_left = 0
        self._quiesced_s = 0.0
        self._poison_records: list[PoisonRecord] = []
        self._snapshots: list[SnapshotRecord] = []
        self.net = Net(seed, _weather(knobs))
        self.net.lag_s = {
            "redis-replica": knobs.replica_lag_s,
            "postgres-standby": knobs.standby_lag_s,
        }
        self.psp_net = Net(f"{seed}:psp", _psp_weather(knobs))
        self.stores = Stores(loop, seed, knobs, self.net, self.psp_net)
        self.draining: set[str] = set()
        ids = random.Random(f"{seed}:ids")
        self.hosts = [
            HostProcess(loop, f"host-{n}", self.stores, knobs, ids, self.draining)
            for n in range(knobs.host_count)
        ]
        self.gateways = [
            GatewayProcess(loop, f"gateway-{n}", self.stores, knobs)
            for n in range(knobs.gateway_count)
        ]
        http = Net(f"{seed}:http", Weather(latency_s=knobs.latency_s))
        self.clients = Clients(loop, http, seed, self.stores, self.gateways)
        self.webhooks = [
            WebhookLine(
                psp.inner,
                psp.journal,
                self.gateways,
                cell=loop.cell(f"{psp.link}-webhooks"),
                net=http,
                clock=self.stores.clock,
                knobs=knobs,
                seed=seed,
            )
            for psp in self.stores.psps.values()
        ]
        self.director = Director(self)

    @property
    def processes(self) -> list[SimProcess]:
        return [*self.hosts, *self.gateways]

    async def run(self) -> list[Violation]:
        """Safety phase, heal, liveness; then everything is looked at."""
        script = self.script
        self.loop.set_exception_handler(self._unhandled)
        asked = tuple(operation for operation in script.operations if not operation.is_poison)
        poison = [operation for operation in script.operations if operation.is_poison]
        self._poison_left = len(poison)
        tasks = self.clients.start(asked)
        for operation in poison:
            self.loop.world.call_at(operation.at_s, self._poison, operation)
        self.loop.world.call_at(SNAPSHOT_EVERY_S, self._take_snapshot)
        tasks += [self.loop.world.spawn(self.director.carry_out(fault)) for fault in script.faults]
        await asyncio.sleep(script.knobs.safety_s)
        self.director.heal()
        self._calm()
        await asyncio.wait(tasks) if tasks else None
        for task in tasks:
            task.result()
        await self._settle()
        self._quiesced_s = self.loop.time()
        clients = self.clients
        finals = [clients.cell.spawn(clients.final_read(c)) for c in self._finals()]
        finals += [clients.cell.spawn(clients.final_operation(c)) for c in self._final_operations()]
        if finals:
            await asyncio.wait(finals)
        await self._settle()
        return [*self._defects(), *check(self._evidence())]

    def note_log(self, event: MutableMapping[str, Any]) -> None:
        """A log event of production code: part of the trace; some show a defect."""
        name = str(event.get("event"))
        details = " ".join(f"{key}={value}" for key, value in event.items() if key != "event")
        self.loop.effect(f"{CELL.get(self.loop.world).name} log {name} {details}")
        if name == "partition_halted":
            self.halted.append(details)

    def _poison(self, operation: Operation) -> None:
        """Put a message into a stream that nobody can decode."""
        redis = self.stores.redis
        command = command_of(self.script.seed, operation)
        index = partition_index(command.order_uuid, self.script.knobs.partition_count)
        entry = with_unreadable_payload(queue_entry(command, index))
        is_away = redis.cell.is_dead or redis.is_replica_frozen or not redis.is_replica_whole
        result = None if is_away else append_entry(redis, entry)
        if result is None or result.status is AppendStatus.FULL:
            self.loop.world.call_at(self.loop.time() + 0.5, self._poison, operation)
            return
        redis.copy_everywhere()
        self._poison_records.append(
            PoisonRecord(to_ns(self.loop.time()), index, result.stream_id, "poison")
        )
        self._poison_left -= 1

    def _take_snapshot(self) -> None:
        """Read the books in one moment, unless they show what a promotion may still take back."""
        postgres = self.stores.postgres
        if self.loop.is_over:
            return
        if postgres.is_all_confirmed:
            self._snapshots.append(snapshot_of(postgres.books, self.loop.time()))
        self.loop.world.call_at(self.loop.time() + SNAPSHOT_EVERY_S, self._take_snapshot)

    def _calm(self) -> None:
        """From now on the network is a good one."""
        for net in (self.net, self.psp_net):
            net.stalled.clear()
            net.weather.reset_before = net.weather.reset_after = net.weather.slow_share = 0.0

    async def _settle(self) -> None:
        """Wait until nothing is open and nothing queued. What never comes shows in the checks."""
        ends_s = self.loop.time() + LIVENESS_S_MAX
        while self.loop.time() < ends_s:
            await asyncio.sleep(LIVENESS_LOOK_S)
            is_open = self._poison_left or self.stores.postgres.books.open_orders
            if not is_open and not self._queued() and not self._untold():
                return

    def _untold(self) -> bool:
        """Whether a PSP still has to tell something, or what it told of an order of ours waits to be judged."""
        if any(line.waiting_count for line in self.webhooks):
            return True
        return bool(unjudged(self.stores.postgres.books))

    def _finals(self) -> list[Any]:
        """Every request that was acknowledged once, and one more of every order that is in the books."""
        history, books = self.clients.history, self.stores.postgres.books
        acknowledged = {
            (reply.order_uuid, reply.fingerprint): None
            for reply in history.replies
            if reply.verdict in ACKNOWLEDGED
        }
        for order in books.orders.values():
            acknowledged.setdefault((order.order_uuid, order.fingerprint))
        return [
            history.sent[order_uuid][fingerprint]
            for order_uuid, fingerprint in acknowledged
            if fingerprint in history.sent.get(order_uuid, {})
        ]

    def _final_operations(self) -> list[OperationCommand]:
        """Every operation that was acknowledged once, and each that is in the books."""
        history, books = self.clients.history, self.stores.postgres.books
        asked = {
            (reply.order_uuid, reply.fingerprint): None
            for reply in history.operation_replies
            if reply.verdict in ACKNOWLEDGED
        }
        for row, _ in books.operations.values():
            asked.setdefault((row.operation_uuid, row.fingerprint))
        return [
            history.operations[identity][fingerprint]
            for identity, fingerprint in asked
            if fingerprint in history.operations.get(identity, {})
        ]

    def _queued(self) -> list[tuple[int, str]]:
        return [
            (index, id_text(stream_id))
            for index, stream in sorted(self.stores.redis.copy.streams.items())
            for stream_id in stream
        ]

    def _evidence(self) -> Evidence:
        return Evidence(
            history=self.clients.history,
            oracle={name: psp.record() for name, psp in self.stores.psps.items()},
            books=self.stores.postgres.books,
            queued=self._queued(),
            fences=self.stores.postgres.fences,
            poison=self._poison_records,
            snapshots=self._snapshots,
            faults=[*self.director.record, *frozen_replicas(self.stores.redis.frozen_s)],
            seed=self.script.seed,
            quiesced_s=self._quiesced_s,
            began_at=BASE_TIME,
        )

    def _defects(self) -> list[Violation]:
        died = [defect for process in self.processes for defect in process.defects]
        forged = [
            f"{line.taken[kind]} {kind} webhooks were believed"
            for line in self.webhooks
            for kind in ("forged", "replayed")
            if line.taken[kind]
        ]
        # Long after everything healed: whoever sends it would give up some day, and nobody be told.
        untaken = [
            Violation("I26", f"{line.waiting_count} webhooks that no gateway has taken")
            for line in self.webhooks
            if line.waiting_count
        ]
        return [*(Violation("defect", text) for text in (*died, *self.halted, *forged)), *untaken]

    def _unhandled(self, _loop: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.halted.append(f"unhandled: {context.get('message')}: {error!r}")


def _weather(knobs: Knobs) -> Weather:
    return Weather(
        latency_s=knobs.latency_s,
        slow_share=knobs.slow_share,
        slow_s=knobs.slow_s,
        reset_before=knobs.reset_before,
        reset_after=knobs.reset_after,
    )


def _psp_weather(knobs: Knobs) -> Weather:
    # Some requests arrive long after their caller gave up, or died.
    return Weather(
        latency_s=0.02,
        slow_share=knobs.psp_slow_share,
        slow_s=6.0,
        reset_before=knobs.psp_reset_before,
        reset_after=knobs.psp_reset_after,
    )


def run(script: Script) -> Outcome:
    """Run a script once, from an empty world to the verdict."""
    logging = structlog.get_config()
    try:
        with running_loop(script.seed) as loop:
            world = World(loop, script)
            _log_into(world)
            try:
                violations = loop.run_until_complete(world.run())
            except SimulationStuck as stuck:
                violations = [Violation("stuck", str(stuck))]
            return _outcome(world, violations)
    finally:
        structlog.configure(**logging)


def _outcome(world: World, violations: list[Violation]) -> Outcome:
    loop = world.loop
    return Outcome(
        trace_hash=loop.trace_hash(),
        violations=violations,
        step_count=loop.step_count,
        virtual_s=loop.time(),
        order_count=len(world.stores.postgres.books.orders),
        charge_count=sum(
            row.captured > 0
            for psp in world.stores.psps.values()
            for row in psp.inner.oracle_rows()
        ),
        applied=dict(world.director.applied),
        undone_count=world.stores.postgres.undone_count,
        tail=list(loop.tail),
    )


def _log_into(world: World) -> None:
    def take(
        _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        world.note_log(event)
        raise structlog.DropEvent

    structlog.configure(processors=[take], cache_logger_on_first_use=False)
