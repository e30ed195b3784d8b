"""The processes of a run: hosts and gateways, built from production code, and started again when they die."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import cast
from uuid import UUID

from actors.breakers import BreakerSettings
from actors.host import PartitionHost
from actors.host_ports import HostPorts
from actors.leases import LeaseLost
from actors.planning import OrderedPlanner
from actors.psp_lines import PspLimits
from actors.settings import HostSettings
from gateway.accepting import Accepting
from gateway.idempotency import Verdict
from gateway.lookups import Lookups
from gateway.psp_webhooks import event_of, payment_of
from gateway.resending import Resending
from gateway.settings import GatewaySettings, PaymentRoute
from payments.commands import OperationCommand, PaymentCommand
from payments.mode import Mode
from payments.operation_answer import frozen_operation_answer
from payments.partitioning import partition_index
from payments.retry_policy import UNKNOWN_SCHEDULE_MS, RetryPolicy, RetryRule, Strategy
from psp.sandbox_webhooks import read_sandbox_webhook
from psp.webhooks import WebhookVerifier
from runtime.crash_points import CrashPoints
from runtime.metrics import Metrics
from storage.envelope import queue_entry
from storage.event_envelope import event_entry
from storage.operation_envelope import operation_entry
from storage.read_ports import PaymentQueries, StoredOperation
from storage.replies import decode_reply
from tests.simulation.answers import Answered, answered
from tests.simulation.loop import SimLoop
from tests.simulation.net import Net, Wire, WireBroken
from tests.simulation.records import SELLER_ID
from tests.simulation.script import Knobs
from tests.simulation.sim_ledger import SimLedger, SimOwnership, SimQueries
from tests.simulation.sim_postgres import SimPostgres
from tests.simulation.sim_psp import SimPsp, SimPspServer
from tests.simulation.sim_queue import SimGatewayQueue, SimOwnerQueue, SimPrimaries
from tests.simulation.sim_redis import SimRedis
from tests.simulation.webhooks import SECRET

BASE_TIME = datetime(2026, 11, 23, 12, tzinfo=UTC)
# A process that ended by itself is started again after this time, as its supervisor does.
START_AGAIN_S = 0.3
WEBHOOK_TOLERANCE_S = 300
STATUS_IGNORED, STATUS_QUEUED, STATUS_FORBIDDEN, STATUS_AWAY = 200, 202, 403, 503
REQUEST_DEADLINE_S = 2.0
CALL_TIMEOUT_MS = 1_500
# The first takes everything; the second whatever is sent to it instead.
PSP_NAMES = ("simulator", "fallback")
# The part of PSPs where a charge takes two sends. Drawn apart, so that everything else is drawn as before.
PREPARING_SHARE = 0.25


class SimClock:
    """The clocks of one machine: the wall may step, the other one can't."""

    def __init__(self, loop: SimLoop, *, offset_s: float = 0.0) -> None:
        self._loop = loop
        self._started_s = 1_000.0
        self.offset_s = offset_s

    def monotonic_s(self) -> float:
        return self._started_s + self._loop.time()

    def now(self) -> datetime:
        return BASE_TIME + timedelta(seconds=self._loop.time() + self.offset_s)


class Stores:
    """What outlives every process."""

    def __init__(self, loop: SimLoop, seed: int, knobs: Knobs, net: Net, psp_net: Net) -> None:
        self.net = net
        self.clock = SimClock(loop)
        self.redis = SimRedis(loop, net, self.clock, seed)
        self.redis.record_ttl_s = knobs.record_ttl_s
        self.redis.stream_length_max = knobs.stream_length_max
        if knobs.do_ids_stand_still:
            self.redis.id_clock_ms_max = 1_000
        self.postgres = SimPostgres(
            loop, net, self.clock, seed, partition_count=knobs.partition_count
        )
        self.postgres.do_takeovers_terminate = knobs.do_takeovers_terminate
        self.psps = {
            name: SimPspServer(
                loop,
                psp_net,
                self.clock,
                seed,
                name=name,
                stored_500=knobs.psp_stored_500,
                query_lag_s=knobs.psp_query_lag_s,
                prepares=random.Random(f"{seed}:prepares:{name}").random() < PREPARING_SHARE,
            )
            for name in PSP_NAMES[: knobs.psp_count]
        }


class SimProcess:
    """One place in the topology, and whoever fills it now."""

    def __init__(self, loop: SimLoop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.clock = SimClock(loop)
        self.start_count = 0
        self.defects: list[str] = []
        self.cell = loop.cell(f"{name}.0")
        self.cell.is_dead = True
        self.start()

    def start(self) -> None:
        """Begin a new process, unless one lives."""
        if not self.cell.is_dead:
            return
        self.start_count += 1
        self.cell = self.loop.cell(f"{self.name}.{self.start_count}")
        task = self.cell.spawn(self._main())
        task.add_done_callback(self._ended, context=self.loop.world.context)

    def kill(self) -> None:
        self.cell.kill()

    def start_later(self, delay_s: float = START_AGAIN_S) -> None:
        """Have the supervisor start it again."""
        self.loop.world.call_at(self.loop.time() + delay_s, self.start)

    async def _main(self) -> None:
        raise NotImplementedError

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The process ended by itself: everything it had is closed."""
        if self.loop.is_over or task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, LeaseLost):
            self.defects.append(f"{self.name} died of {type(error).__name__}: {error}")
        self.cell.kill()
        self.start_later()


class HostProcess(SimProcess):
    """A partition host."""

    def __init__(
        self,
        loop: SimLoop,
        name: str,
        stores: Stores,
        knobs: Knobs,
        ids: random.Random,
        draining: set[str],
    ) -> None:
        self._stores = stores
        self._knobs = knobs
        self._ids = ids
        self._draining = draining
        super().__init__(loop, name)

    async def _main(self) -> None:
        stores, knobs = self._stores, self._knobs
        ledger = SimLedger(stores.postgres, stores.net, lane_count=knobs.lane_count)
        psps = {name: SimPsp(server) for name, server in stores.psps.items()}

        async def read_draining() -> frozenset[str]:
            return frozenset(self._draining)

        ports = HostPorts(
            ledger=ledger,
            ownership=SimOwnership(ledger),
            reading_queue=SimOwnerQueue(stores.redis, stores.net, self.clock),
            reply_queue=SimOwnerQueue(stores.redis, stores.net, self.clock),
            psps=psps,
            planner=OrderedPlanner(psps),
            read_draining=read_draining,
            clock=self.clock,
            crash_points=CrashPoints({}),
        )
        incarnation = UUID(int=self._ids.getrandbits(128), version=4)
        settings = _host_settings(self.name, self._knobs)
        host = PartitionHost(settings, ports, incarnation, self.start_count)
        await host.run()


class GatewayProcess(SimProcess):
    """A gateway below its HTTP layer. ``post`` is called through a wire, as a client's request."""

    def __init__(self, loop: SimLoop, name: str, stores: Stores, knobs: Knobs) -> None:
        self._stores = stores
        self._knobs = knobs
        super().__init__(loop, name)

    async def _main(self) -> None:
        stores, metrics = self._stores, Metrics()
        # Accepting asks for orders alone.
        queries = cast(PaymentQueries, SimQueries(stores.postgres, stores.net))
        lookups = Lookups(queries, clock=self.clock, metrics=metrics)
        self.reply_to = f"reply:{self.name}:{self.start_count}"
        self.accepting = Accepting(
            [SimGatewayQueue(stores.redis, stores.net) for _ in range(2)],
            lookups,
            _gateway_settings(self.name, self._knobs),
            clock=self.clock,
            metrics=metrics,
        )
        self.accepting.start()
        asyncio.create_task(self._listen(self.accepting, self.reply_to))  # noqa: RUF006
        needed = [asyncio.create_task(self.accepting.run_until_failure())]
        if self._knobs.do_gateways_resend:
            needed.append(asyncio.create_task(self._resending(metrics).run()))
        done, _ = await asyncio.wait(needed, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def _resending(self, metrics: Metrics) -> Resending:
        stores = self._stores
        return Resending(
            SimGatewayQueue(stores.redis, stores.net),
            SimPrimaries(stores.redis, stores.net).histories,
            self.accepting.unreported,
            late_ack_s=REQUEST_DEADLINE_S,
            clock=self.clock,
            metrics=metrics,
        )

    async def post(self, command: PaymentCommand) -> Answered:
        """Return the answer to one request, which this gateway accepts now."""
        now = self.clock.now()
        accepted = command._replace(
            accepted_at=now.replace(microsecond=now.microsecond // 1_000 * 1_000),
            reply_to=self.reply_to,
        )
        index = partition_index(accepted.order_uuid, self._knobs.partition_count)
        decided = await self.accepting.accept(queue_entry(accepted, index))
        return answered(decided, accepted, SELLER_ID)

    async def operate(self, command: OperationCommand) -> tuple[Verdict, bytes | None]:
        """Return the verdict on one operation, and its frozen answer where there is one."""
        now = self.clock.now()
        accepted = command._replace(
            accepted_at=now.replace(microsecond=now.microsecond // 1_000 * 1_000),
            reply_to=self.reply_to,
        )
        index = partition_index(accepted.payment_uuid, self._knobs.partition_count)
        decided = await self.accepting.accept(operation_entry(accepted, index))
        if decided.verdict is not Verdict.FROZEN:
            return decided.verdict, None
        assert isinstance(decided.order, StoredOperation)
        return decided.verdict, frozen_operation_answer(decided.order.view)[2]

    async def webhook(self, psp: str, body: bytes, headers: dict[str, str]) -> int:
        """Return the status of a PSP's webhook, as ``gateway.psp_webhooks`` finds it."""
        # Not by this gateway's own clock: that true webhooks are refused once it was stepped is nothing to find.
        now = self._stores.clock.now()
        verifier = WebhookVerifier([SECRET], tolerance_s=WEBHOOK_TOLERANCE_S)
        if (
            verifier.refusal_of(lambda name: headers.get(name, ""), body, now_s=now.timestamp())
            is not None
        ):
            return STATUS_FORBIDDEN
        notice = read_sandbox_webhook(body)
        event = notice and event_of(psp, notice, now=now, reply_to=self.reply_to)
        payment = notice and payment_of(notice)
        if event is None or payment is None:
            return STATUS_IGNORED
        index = partition_index(payment, self._knobs.partition_count)
        verdict = await self.accepting.accept_event(event_entry(event, index))
        is_kept = verdict in (Verdict.ACCEPTED, Verdict.ACCEPTED_DEFERRED)
        return STATUS_QUEUED if is_kept else STATUS_AWAY

    async def _listen(self, accepting: Accepting, reply_to: str) -> None:
        """Hear what owners report, through every reconnection."""
        stores = self._stores
        hear = _hearing(self.cell.call_at, self.loop, stores.net, accepting)
        while True:
            wire = Wire(stores.net, stores.redis.cell, "redis")
            try:
                await wire.call(partial(stores.redis.run_subscribe, reply_to, hear))
                while wire.is_open:
                    await asyncio.sleep(0.2)
            except WireBroken:
                wire.abort("lost")
            await asyncio.sleep(0.05)


def _hearing(
    call_at: Callable[..., None], loop: SimLoop, net: Net, accepting: Accepting
) -> Callable[[bytes], None]:
    def hear(payload: bytes) -> None:
        call_at(net.arrival_s("redis", loop.time()), tell, payload)

    def tell(payload: bytes) -> None:
        accepting.taken_in(decode_reply(payload).taken_in)

    return hear


def _host_settings(name: str, knobs: Knobs) -> HostSettings:
    limits = PspLimits(
        in_flight_max=knobs.calls_in_flight_max,
        charge_timeout_ms=CALL_TIMEOUT_MS,
        query_timeout_ms=CALL_TIMEOUT_MS,
        cancel_timeout_ms=CALL_TIMEOUT_MS,
        breaker=BreakerSettings(
            window_calls=max(knobs.breaker_calls_min, 10),
            calls_min=knobs.breaker_calls_min,
            streak_s=knobs.breaker_streak_s,
            open_ms=knobs.breaker_open_ms,
            open_ms_max=4 * knobs.breaker_open_ms,
        ),
    )
    return HostSettings(
        name=name,
        node="simulated",
        partition_count=knobs.partition_count,
        commands_per_flush_max=knobs.commands_per_flush_max,
        partitions_per_flush_max=knobs.partitions_per_flush_max,
        open_orders_max=knobs.open_orders_max,
        drain_s=2,
        policy=_policy(knobs),
        psp_limits=dict.fromkeys(PSP_NAMES, limits),
        resume_per_s=knobs.resume_per_s,
    )


def _policy(knobs: Knobs) -> RetryPolicy:
    longest_ms = knobs.retry_ms_max
    return RetryPolicy(
        not_sent=RetryRule(
            strategy=Strategy.EXPONENTIAL,
            first_ms=200,
            max_ms=longest_ms,
            age_s_max=knobs.not_sent_age_s,
        ),
        unknown=RetryRule(
            strategy=Strategy.SCHEDULE,
            schedule_ms=tuple(min(wait_ms, longest_ms) for wait_ms in UNKNOWN_SCHEDULE_MS[:4]),
        ),
        psp_down=RetryRule(
            strategy=Strategy.FIXED, first_ms=longest_ms, age_s_max=knobs.not_sent_age_s
        ),
        requires_action=RetryRule(
            strategy=Strategy.FIXED, first_ms=500, age_s_max=knobs.action_lifetime_s
        ),
        fallback_tries=knobs.fallback_tries,
        attempts_max=knobs.attempts_max,
        authorization_s_max=knobs.authorization_s,
    )


def _gateway_settings(name: str, knobs: Knobs) -> GatewaySettings:
    return GatewaySettings(
        name=name,
        host="127.0.0.1",
        port=1,
        partition_count=knobs.partition_count,
        routes=(PaymentRoute(psp="simulator", mode=Mode.TEST, token_prefixes=("tok_",)),),
        fingerprint_key=bytes(32),
        api_key_pepper=bytes(32),
        request_deadline_s=REQUEST_DEADLINE_S,
        unreported_orders_max=knobs.unreported_orders_max,
    )
