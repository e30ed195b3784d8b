"""Processes killed at every named point under load: nothing lost, nothing charged twice."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from tests.rig import Rig, until
from tests.servers import SharedServers
from tests.shop import Answer, Shop, open_shop, successful_charges

# With this latency and this many orders at once, a hundred PSP calls are in flight at any moment.
LATENCY_MS = "1000"
ORDER_COUNT = 400
BATCHES_MAX = 10
# Of each host that is to die.
IN_FLIGHT_MIN = 25

# Two hosts die at once, each at a point of its own; together all points.
HOST_POINTS = [
    ("before_intake_commit", "before_removal"),
    ("after_intake_commit", "flush_begun"),
    ("before_psp_call", "flush_committed"),
    ("after_psp_call", "before_settle_commit"),
    ("flush_before_commit", "after_removal"),
    ("after_settle_commit",),
]

# The promise for an idle machine; tests share theirs with others.
TAKEOVER_S_MAX = 3.0
BUSY_FACTOR = 2.0


@pytest.fixture(scope="module")
def rig(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One host that stays; each test adds one that dies."""
    directory = tmp_path_factory.mktemp("crashes")
    with Rig(servers, directory, simulator=("--latency-ms", LATENCY_MS)) as rig:
        rig.start_gateway("gateway-0")
        rig.start_host("host-1")
        asyncio.run(rig.until_owned_by("host-1"))
        asyncio.run(rig.until_ready())
        yield rig


@pytest.mark.parametrize("points", HOST_POINTS, ids=" ".join)
async def test_hosts_killed_at_any_point_lose_and_double_nothing(
    rig: Rig, points: tuple[str, ...]
) -> None:
    """Their partitions are owned again within 3 s, every accepted order ends, each is charged once."""
    merchant_id, api_key = await rig.create_merchant(f"Crash at {points}")
    hosts, moments = {}, []
    for point in points:
        # Each has a file of its own: it is taken away by whoever dies.
        moments.append(rig.directory / f"now-{point}")
        environment = {"TALLY_CRASH_AT": point, "TALLY_CRASH_FILE": str(moments[-1])}
        hosts[f"host-at-{point}"] = rig.start_host(f"host-at-{point}", environment)
    await rig.until_owned_by(*hosts, "host-1")
    are_dead = asyncio.Event()
    # Few connections, so that orders go on coming in while others are at the PSP.
    async with open_shop(rig.url, api_key, connection_count=16) as shop:
        posting = asyncio.create_task(post_until(shop, are_dead))
        for name in hosts:
            while await calls_in_flight(rig, name) < IN_FLIGHT_MIN:
                assert not posting.done(), "the load ended before enough calls were in flight"
                await asyncio.sleep(0.02)
        for moment in moments:
            moment.touch()
        await until(lambda: all(host.poll() is not None for host in hosts.values()))
        died_s = time.monotonic()
        are_dead.set()
        await rig.until_owned_by("host-1", timeout_s=10)
        assert time.monotonic() - died_s < TAKEOVER_S_MAX * BUSY_FACTOR
        answers = await posting
        for name, host in hosts.items():
            assert host.returncode == -9, rig.log_of(name)[-2000:]
        assert all(answer.is_accepted for answer in answers)
        await rig.until_ended(merchant_id, len(answers))
    charges = await successful_charges(rig.simulator.url, merchant_id)
    assert charges == {str(answer.key): 1 for answer in answers}
    await assert_books_match(rig, merchant_id, len(answers))


@pytest.mark.parametrize("point", ["before_append:2", "after_append:2"])
async def test_a_gateway_killed_around_its_append_loses_nothing(rig: Rig, point: str) -> None:
    """A storefront that got no answer repeats its key: every order ends, charged once."""
    merchant_id, api_key = await rig.create_merchant(f"Crash at {point}")
    name = f"gateway-{point.partition(':')[0]}"
    gateway = rig.start_gateway(name, {"TALLY_CRASH_AT": point})
    await until(lambda: '"listening"' in rig.log_of(name))
    keys = [uuid4() for _ in range(ORDER_COUNT)]
    async with open_shop(rig.url, api_key) as shop:
        # New connections are dealt out among the gateways; it takes a few to reach the one that dies.
        await until_killed(gateway, shop, keys)
        assert gateway.returncode == -9, rig.log_of(name)[-2000:]
        answers = await post_all(shop, keys)
        assert all(answer.is_accepted for answer in answers)
        await rig.until_ended(merchant_id, ORDER_COUNT)
    charges = await successful_charges(rig.simulator.url, merchant_id)
    assert {key: charges.get(str(key)) for key in keys} == dict.fromkeys(keys, 1)
    assert set(charges.values()) == {1}


async def calls_in_flight(rig: Rig, host_name: str) -> int:
    """PSP calls that a host had started: orders of its partitions taken in and not ended."""
    rows = await rig.fetch(
        "SELECT count(*) AS n FROM open_order JOIN partition USING (partition_index)"
        " JOIN host_lease l ON l.incarnation = owner WHERE l.host_name = $1",
        host_name,
    )
    return int(rows[0]["n"])


async def post_until(shop: Shop, are_dead: asyncio.Event) -> list[Answer]:
    """Post some hundred orders, and as many more as long as the hosts live: a busy machine is slow to take them in."""
    answers: list[Answer] = []
    for _ in range(BATCHES_MAX):
        answers += await post_all(shop, [uuid4() for _ in range(ORDER_COUNT)])
        if are_dead.is_set():
            break
    return answers


async def post_all(shop: Shop, keys: list[UUID]) -> list[Answer]:
    """Post every key, again and again until it is accepted, as a careful storefront does."""

    async def post(key: UUID) -> Answer:
        answer = Answer(key=key, status=0)
        for _ in range(20):
            answer = await shop.post(key, amount_minor=1_000 + key.int % 997)
            if answer.is_accepted:
                break
            await asyncio.sleep(0.2)
        return answer

    return list(await asyncio.gather(*(post(key) for key in keys)))


async def until_killed(gateway: subprocess.Popen[bytes], shop: Shop, keys: list[UUID]) -> None:
    """Post until the gateway that is to die got its share of the load."""
    async with asyncio.timeout(60):
        while gateway.poll() is None:
            await asyncio.gather(
                *(shop.post(key, amount_minor=1_000 + key.int % 997) for key in keys)
            )


async def assert_books_match(rig: Rig, merchant_id: str, order_count: int) -> None:
    """Orders, outcomes, transfers and slices of the merchant agree with each other."""
    rows = await rig.fetch(
        """
        SELECT (SELECT count(*) FROM payment_order o WHERE o.merchant_no = m.merchant_no) AS orders,
               (SELECT count(*) FROM order_outcome JOIN payment_order o USING (partition_index, order_no)
                 WHERE o.merchant_no = m.merchant_no AND order_outcome.status = 5) AS succeeded,
               (SELECT count(*) FROM transfer JOIN payment_order o USING (partition_index, order_no)
                 WHERE o.merchant_no = m.merchant_no) AS transfers,
               (SELECT sum(credits_posted_minor - debits_posted_minor) FROM slice
                  JOIN account a USING (partition_index, account_no)
                 WHERE a.merchant_no = m.merchant_no AND a.kind = 1) AS wallet,
               (SELECT sum(amount_minor - fee_minor) FROM payment_order o
                 WHERE o.merchant_no = m.merchant_no) AS net,
               (SELECT count(*) FROM open_order JOIN payment_order o USING (partition_index, order_no)
                 WHERE o.merchant_no = m.merchant_no) AS open
        FROM merchant m WHERE merchant_id = $1
        """,
        merchant_id,
    )
    row = rows[0]
    assert (row["orders"], row["succeeded"], row["open"]) == (order_count, order_count, 0)
    assert row["transfers"] == 2 * order_count
    assert row["wallet"] == row["net"]
