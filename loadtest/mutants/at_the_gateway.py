"""Defects in accepting and answering: what a gateway might tell a storefront too early, or wrongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from loadtest.mutants.patching import Mutant, change_script, replace_attribute
from runtime.clock import Clock, SystemClock

if TYPE_CHECKING:
    from gateway.finding import Finding
    from gateway.idempotency import Verdict
    from gateway.lookups import Lookups
    from gateway.problems import Problem
    from payments.answer import OrderView
    from payments.mode import Mode
    from storage.lookup_keys import OrderLookup
    from storage.queue_gateway import RedisGatewayQueue
    from storage.queue_ports import AppendBatch
    from storage.read_ports import PaymentQueries, StoredOrder


def _ack_before_wait() -> None:
    from storage.queue_gateway import RedisGatewayQueue

    async def wait_durable(
        _self: RedisGatewayQueue, _batch: AppendBatch, *, timeout_ms: int
    ) -> bool:
        return timeout_ms >= 0

    replace_attribute(RedisGatewayQueue, "wait_durable", wait_durable)


def _wait_count_unchecked() -> None:
    from storage.queue_gateway import RedisGatewayQueue

    wait = vars(RedisGatewayQueue)["_wait"]

    async def wait_for_any_count(
        queue: RedisGatewayQueue, generation: int, deadline_s: float
    ) -> bool:
        await wait(queue, generation, deadline_s)
        return True

    replace_attribute(RedisGatewayQueue, "_wait", wait_for_any_count)


def _full_is_accepted() -> None:
    from gateway import idempotency
    from gateway.idempotency import AppendState, Verdict

    verdicts = {
        **vars(idempotency)["_VERDICTS"],
        AppendState.FULL: (Verdict.ACCEPTED, Verdict.ACCEPTED_DEFERRED),
    }
    replace_attribute(idempotency, "_VERDICTS", verdicts)
    # Admission ends so early that an outage of a second is enough. That alone would be no defect.
    limits = "local stream_length_max, record_count_max = tonumber(ARGV[1]), tonumber(ARGV[2])\n"
    change_script("append", (limits, limits + "stream_length_max = 2\n"))


def _fingerprint_not_compared() -> None:
    from gateway import idempotency
    from gateway.idempotency import Verdict

    def of_the_books(_own_fingerprint: bytes, order: StoredOrder) -> Verdict:
        return Verdict.FROZEN if order.is_frozen else Verdict.RUNNING

    replace_attribute(idempotency, "_of_the_books", of_the_books)


def _queued_order_not_found() -> None:
    from gateway import finding
    from gateway.finding import Finding

    async def find_in_queue(_self: Finding, _key: OrderLookup) -> Problem:
        return finding.NOT_FOUND

    replace_attribute(Finding, "_find_in_queue", find_in_queue)


def _frozen_answer_changes() -> None:
    from gateway import rendering

    render = vars(rendering)["frozen_answer"]
    clock = SystemClock()

    def frozen_answer(view: OrderView) -> tuple[int, str, bytes]:
        rendered: tuple[int, str, bytes] = render(view._replace(wallet_updated_at=clock.now()))
        return rendered

    replace_attribute(rendering, "frozen_answer", frozen_answer)


def _merchant_left_out() -> None:
    from payments import identity

    digest_of = vars(identity)["_merchants_digest"]

    def of_mode_alone(_merchant_id: str, mode: Mode) -> object:
        return digest_of("", mode)

    replace_attribute(identity, "_merchants_digest", of_mode_alone)


class _LateEveryOtherTime:
    """Queries of which every other one sees what a standby would show that replays ten seconds late."""

    def __init__(self, queries: PaymentQueries, clock: Clock) -> None:
        self._queries = queries
        self._clock = clock
        self._asked_count = 0

    async def orders(self, keys: Sequence[tuple[int, UUID]]) -> Mapping[UUID, StoredOrder]:
        self._asked_count += 1
        is_late = self._asked_count % 2 == 1
        found = await self._queries.orders(keys)
        if not is_late:
            return found
        until = self._clock.now() - timedelta(seconds=10)
        return {key: order for key, order in found.items() if order.view.created_at < until}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queries, name)


def _look_ups_from_a_late_copy() -> None:
    from gateway.lookups import Lookups

    build = Lookups.__init__

    def build_on_late(lookups: Lookups, queries: PaymentQueries, **rest: Any) -> None:
        build(lookups, _LateEveryOtherTime(queries, rest["clock"]), **rest)

    replace_attribute(Lookups, "__init__", build_on_late)


AT_THE_GATEWAY = (
    Mutant(
        name="ack_before_wait",
        defect="202 goes out when the primary has the order, without waiting for the replica",
        breaks=("I1", "I28"),
        mix="freeze",
        cells=("freeze/redis_replica/under_load",),
        put_in=_ack_before_wait,
    ),
    Mutant(
        name="wait_count_unchecked",
        defect="the gateway waits for the replica, and takes any count in the answer for enough",
        breaks=("I1", "I28"),
        mix="freeze",
        cells=("freeze/redis_replica/under_load",),
        put_in=_wait_count_unchecked,
    ),
    Mutant(
        name="full_is_accepted",
        defect="an order that admission refused is answered 202",
        breaks=("I1", "I22"),
        mix="kill",
        cells=("kill/host/under_load",),
        put_in=_full_is_accepted,
    ),
    Mutant(
        name="fingerprint_not_compared",
        defect="another request under the key of an order in the books gets that order's answer",
        breaks=("I13",),
        mix="none",
        put_in=_fingerprint_not_compared,
    ),
    Mutant(
        name="queued_order_not_found",
        defect="GET answers 404 for an accepted order that only the queue holds",
        breaks=("I15", "I16"),
        mix="none",
        is_simulated=False,
        put_in=_queued_order_not_found,
    ),
    Mutant(
        name="frozen_answer_changes",
        defect="the frozen answer has a member that is computed when it is rendered",
        breaks=("I13",),
        mix="none",
        put_in=_frozen_answer_changes,
    ),
    Mutant(
        name="merchant_left_out",
        defect="an order's identity is derived from mode and key, without the merchant",
        breaks=("I14", "I3"),
        mix="none",
        put_in=_merchant_left_out,
    ),
    Mutant(
        name="look_ups_from_a_late_copy",
        defect="every other look-up for idempotency reads a copy of the books that is ten seconds late",
        breaks=("I13", "I15", "I16"),
        mix="none",
        put_in=_look_ups_from_a_late_copy,
    ),
)
