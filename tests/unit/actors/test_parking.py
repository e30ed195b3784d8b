"""Parked orders: in turn among merchants, through a bucket, and to whoever takes them."""

from __future__ import annotations

from dataclasses import replace

from actors.breakers import BreakerState
from actors.parking import FairQueue, ParkedOrder, TokenBucket
from payments.lifecycle import PaymentState
from payments.retry_policy import RetryRule, Strategy
from psp.simulator.wire import Scenario
from tests.fakes.fake_host import QUICK, World
from tests.manual_clock import ManualClock


def parked_count(world: World) -> int:
    """How many orders rest, by their rows."""
    return sum(row.parked_reason is not None for row in world.books.open_orders.values())


def test_merchants_take_turns() -> None:
    """A merchant with a thousand parked orders delays another one's first by one place."""
    queue = FairQueue()
    for order_no in range(1_000):
        queue.add(1, ParkedOrder(0, order_no))
    queue.add(2, ParkedOrder(1, 1))
    queue.add(3, ParkedOrder(2, 1))
    queue.add(3, ParkedOrder(2, 2))
    taken = list(queue.take(6))
    assert taken == [(0, 0), (1, 1), (2, 1), (0, 1), (2, 2), (0, 2)]
    assert len(list(queue.take(2_000))) == 997
    assert not queue


def test_a_bucket_lets_its_rate_through() -> None:
    """A burst after a rest, then so many a second, whatever is asked for."""
    clock = ManualClock()
    bucket = TokenBucket(100, 10, clock)
    taken = 0
    for _ in range(50):
        available = bucket.available()
        bucket.take(available)
        taken += available
        clock.advance(0.1)
    assert taken == 500
    clock.advance(3_600)
    assert bucket.available() == 10


async def test_orders_rest_while_all_psps_are_down_and_end_when_one_is_back() -> None:
    """Parked with a reason, each charged once afterwards, and none left behind."""
    world = World(psp_names=("simulator", "simulator_b"))
    for psp in world.psps.values():
        psp.set_scenario(Scenario(outage=True))
    host = world.host()
    async with world.running(host):
        orders = [await world.post() for _ in range(20)]

        await world.until(
            lambda: (
                parked_count(world) > 5
                and all(
                    line.breaker.state is not BreakerState.CLOSED
                    for line in host.calls.lines.values()
                )
            ),
            timeout_s=20,
        )
        world.psps["simulator_b"].set_scenario(Scenario())
        await world.until(
            lambda: all(world.status_of(o) == PaymentState.SUCCEEDED for o in orders),
            timeout_s=20,
        )
    assert world.psps["simulator_b"].totals().charges == 20
    assert world.psp.totals().charges == 0
    assert not world.books.timers


async def test_a_new_owner_resumes_what_another_one_parked() -> None:
    """The reason is in the rows; what was never seen to be sent stays with its PSP."""
    world = World()
    world.psp.set_scenario(Scenario(outage=True))
    async with world.running(world.host("host-0")):
        orders = [await world.post() for _ in range(8)]
        await world.until(lambda: parked_count(world) > 3, timeout_s=20)
    world.psp.set_scenario(Scenario())
    async with world.running(world.host("host-1")):
        await world.until(
            lambda: all(world.status_of(o) == PaymentState.SUCCEEDED for o in orders),
            timeout_s=20,
        )
    assert world.psp.totals().charges == 8


async def test_orders_that_rest_for_too_long_end() -> None:
    """What surely never ran fails as psp_unavailable in the end, although no PSP comes back."""
    soon = RetryRule(strategy=Strategy.FIXED, first_ms=20, age_s_max=2)
    world = World(policy=replace(QUICK, psp_down=soon, not_sent=soon))
    world.psp.set_scenario(Scenario(outage=True))
    async with world.running(world.host()):
        orders = [await world.post() for _ in range(12)]
        await world.until(
            lambda: all(world.status_of(o) == PaymentState.FAILED for o in orders), timeout_s=20
        )
    codes = {outcome.failure_code for outcome, _ in world.books.outcomes.values()}
    assert codes == {"psp_unavailable"}
    assert world.psp.totals().charges == 0
