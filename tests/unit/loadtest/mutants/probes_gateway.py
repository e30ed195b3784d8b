"""One question to gateways for each of their mutants."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from uuid import UUID, uuid4

from gateway.idempotency import AppendState, BooksState, Evidence, decide
from payments.identity import order_uuid
from payments.lifecycle import PaymentState
from payments.mode import Mode
from storage.queue import RedisGatewayQueue
from storage.queue_ports import AppendBatch
from storage.queue_settings import QueueSettings
from storage.redis_script import RedisScript
from tests.unit.gateway.stack import GatewayStack, payment

SETTINGS = QueueSettings(
    url="redis://127.0.0.1:1",
    replicas_awaited=1,
    replica_count=1,
    stream_length_max=10,
    record_count_max=100,
)


def _of_a_gateway(ask: Callable[[GatewayStack], Awaitable[object]]) -> object:
    async def asked() -> object:
        async with GatewayStack() as stack:
            return await ask(stack)

    return asyncio.run(asked())


def ack_before_wait() -> object:
    """Whether an append counts as durable while no replica has it."""
    queue = RedisGatewayQueue(SETTINGS)

    async def no_replica(_generation: int, _deadline_s: float) -> bool:
        return False

    vars(queue)["_wait"] = no_replica
    return asyncio.run(queue.wait_durable(AppendBatch(results=(), generation=1), timeout_ms=1))


class _Replicas:
    """A connection to a server of which so many replicas answer."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.turn = asyncio.Lock()

    def expect(self, _generation: int) -> object:
        return SimpleNamespace(has_waitaof=False)

    async def exchange(self, _commands: object, *, generation: int, wait_s: float) -> list[int]:
        assert generation == 1
        await asyncio.sleep(wait_s / 100)
        return [self._count]


def wait_count_unchecked() -> object:
    """Whether an append counts as durable with none, and with one of one replica."""

    async def ask(count: int) -> bool:
        queue = RedisGatewayQueue(SETTINGS)
        vars(queue)["_connection"] = _Replicas(count)
        return await queue.wait_durable(AppendBatch(results=(), generation=1), timeout_ms=5)

    return [asyncio.run(ask(count)) for count in (0, 1)]


def full_is_accepted() -> object:
    """What an order is told that admission refused; and whether admission ends early."""
    verdict = decide(
        Evidence(
            fingerprint=b"",
            append=AppendState.FULL,
            is_durable=False,
            books=BooksState.ABSENT,
            order=None,
            is_past_deadline=False,
        )
    )
    assert verdict is not None
    return [verdict.value, b"stream_length_max = 2" in RedisScript.from_package("append").source]


def fingerprint_not_compared() -> object:
    """What another request under a settled key is told, and the same one."""

    async def ask(stack: GatewayStack) -> object:
        key = uuid4()
        await stack.pay(key)
        stack.take_in(PaymentState.SUCCEEDED)
        other = await stack.pay(key, payment(amount=2_500))
        same = await stack.pay(key)
        return [other.status, same.status]

    return _of_a_gateway(ask)


def queued_order_not_found() -> object:
    """What a GET says of an accepted order, before and after its intake."""

    async def ask(stack: GatewayStack) -> object:
        key = uuid4()
        await stack.pay(key)
        queued = await stack.get(f"/v1/payments/{key}")
        stack.take_in(PaymentState.SUCCEEDED)
        taken_in = await stack.get(f"/v1/payments/{key}")
        return [queued.status, taken_in.status]

    return _of_a_gateway(ask)


def frozen_answer_changes() -> object:
    """How many bodies a settled key has."""

    async def ask(stack: GatewayStack) -> object:
        key = uuid4()
        await stack.pay(key)
        stack.take_in(PaymentState.SUCCEEDED)
        bodies = set()
        for _ in range(3):
            bodies.add((await stack.pay(key)).body)
            await asyncio.sleep(0.005)
        return len(bodies)

    return _of_a_gateway(ask)


def merchant_left_out() -> object:
    """How many orders two merchants make with the same key in the same mode, and one with two keys."""
    merchants = ("mrc_bcdfghjkmnpqrstvbcdf", "mrc_ccdfghjkmnpqrstvbcdf")
    same_key = {order_uuid(merchant, Mode.TEST, UUID(int=1)) for merchant in merchants}
    two_keys = {order_uuid(merchants[0], Mode.TEST, UUID(int=n)) for n in (1, 2)}
    return [len(same_key), len(two_keys)]


def look_ups_from_a_late_copy() -> object:
    """Which statuses the replays of a key get that was settled a moment ago."""

    async def ask(stack: GatewayStack) -> object:
        key = uuid4()
        await stack.pay(key)
        stack.take_in(PaymentState.SUCCEEDED, is_reported=False)
        return sorted({(await stack.pay(key)).status for _ in range(4)})

    return _of_a_gateway(ask)
