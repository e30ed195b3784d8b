"""Defects in accepting: what a gateway might tell a storefront too early, or wrongly."""

from __future__ import annotations

from loadtest.mutants.patching import Mutant, replace_attribute


def _ack_before_wait() -> None:
    from storage.queue_gateway import RedisGatewayQueue
    from storage.queue_ports import AppendBatch

    async def wait_durable(
        _self: RedisGatewayQueue, _batch: AppendBatch, *, timeout_ms: int
    ) -> bool:
        return timeout_ms >= 0

    replace_attribute(RedisGatewayQueue, "wait_durable", wait_durable)


AT_THE_GATEWAY = (
    Mutant(
        name="ack_before_wait",
        defect="202 goes out when the primary has the order, without waiting for the replica",
        breaks=("I1", "I28"),
        mix="stores",
        put_in=_ack_before_wait,
    ),
)
