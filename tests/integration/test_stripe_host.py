"""A partition host whose provider is Stripe, as the simulator plays it: two sends, among failures and takeovers."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from actors.psp_lines import PspLimits
from payments.lifecycle import PaymentState
from psp.stripe.connector import StripePsp
from tests.fakes import fake_host
from tests.fakes.fake_host import World
from tests.shop import oracle
from tests.simulator_process import SimulatorProcess

# Longer than an answer takes on a busy machine, and soon over where none comes.
LIMITS = PspLimits(charge_timeout_ms=1_000, query_timeout_ms=1_000, cancel_timeout_ms=1_000)
ENDED_S_MAX = 60.0

ENDS = {
    "pm_card_visa": PaymentState.SUCCEEDED,
    "pm_charge_then_timeout": PaymentState.SUCCEEDED,
    "pm_charge_then_refuse": PaymentState.SUCCEEDED,
    "pm_conflict_409": PaymentState.SUCCEEDED,
    "pm_lie_not_found": PaymentState.SUCCEEDED,
    "pm_stored_500": PaymentState.SUCCEEDED,
    "pm_timeout_before": PaymentState.SUCCEEDED,
    "pm_rate_limited": PaymentState.SUCCEEDED,
    # The failure is kept under the key, so the PaymentIntent is canceled: surely not charged.
    "pm_error_500": PaymentState.CANCELED,
    "pm_decline_do_not_honor": PaymentState.FAILED,
}


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[SimulatorProcess]:
    with SimulatorProcess(tmp_path) as process:
        yield process


@pytest.fixture
async def world(
    simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setattr(fake_host, "LIMITS", LIMITS)
    psp = StripePsp(
        name="stripe",
        account="default",
        secret_key="sk_test_host",
        is_live=False,
        return_url="https://shop.example/back",
        url=simulator.url,
    )
    made = World()
    vars(made)["psps"] = {"stripe": psp}
    yield made
    await psp.close()


async def charged(simulator: SimulatorProcess) -> Counter[str]:
    """How often each order was charged, by the provider's own record."""
    return Counter(row["order_key"] for row in await oracle(simulator.url) if row["captured"])


def open_references(world: World) -> list[str | None]:
    """What the books hold of orders that have not ended."""
    return [
        row.psp_reference for index in range(4) for row in world.books.open_order_records(index)
    ]


async def test_each_order_ends_as_its_charge_did(world: World, simulator: SimulatorProcess) -> None:
    """Answers that are lost, denied or kept change nothing: one charge for each that succeeded."""
    async with world.running(world.host()):
        orders = {token: [await world.post(token=token) for _ in range(3)] for token in ENDS}
        every = [order for same in orders.values() for order in same]
        await world.until(lambda: all(map(world.status_of, every)), timeout_s=ENDED_S_MAX)
    for token, same in orders.items():
        assert [world.status_of(order) for order in same] == [ENDS[token]] * 3, token
    counts = await charged(simulator)
    assert set(counts.values()) == {1}
    assert len(counts) == 3 * list(ENDS.values()).count(PaymentState.SUCCEEDED)
    for outcome, _ in world.books.outcomes.values():
        assert (outcome.psp_reference or "").startswith("pi_")


async def test_owners_that_die_between_the_two_sends_charge_once(
    world: World, simulator: SimulatorProcess
) -> None:
    """Whoever takes over goes on with the reference that the books hold, or creates nothing that runs twice."""
    tokens = ["pm_card_visa", "pm_slow_300", "pm_charge_then_timeout"] * 10
    orders: list[UUID] = []
    for number in range(4):
        async with world.running(world.host(f"host-{number}")):
            orders.extend([await world.post(token=token) for token in tokens[number::4]])
            await world.until(
                lambda: any(open_references(world)) or all(map(world.status_of, orders)),
                timeout_s=ENDED_S_MAX,
            )
    async with world.running(world.host("host-last")):
        await world.until(lambda: all(map(world.status_of, orders)), timeout_s=ENDED_S_MAX)
    assert {world.status_of(order) for order in orders} == {PaymentState.SUCCEEDED}
    counts = await charged(simulator)
    assert (len(counts), set(counts.values())) == (len(orders), {1})
