"""PSPs at their worst, on real servers: each order is charged once, at one PSP, and nobody has to help.

`TALLY_TEST_BAD_PSP_ORDERS` sets how many orders of each kind are posted (the full run: 1000).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import aiohttp
import msgspec
import pytest

from psp.simulator.wire import OracleRow
from tests.rig import Rig
from tests.servers import SharedServers
from tests.shop import Shop

ORDER_COUNT = int(os.environ.get("TALLY_TEST_BAD_PSP_ORDERS", "100"))
POSTS_AT_ONCE = 50
RESOLVED_S_MAX = 60.0
HOST_COUNT = 2
SECOND = "simulator_b"
# As the configuration has it by default: orders that a half open breaker tries a PSP with.
PROBES = 3

BREAKER = """
[breaker]
open_ms = 500
open_ms_max = 1000
"""


@pytest.fixture(scope="module")
def rig(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Shared: each test has a merchant of its own, and begins with two hosts and both PSPs well."""
    directory = tmp_path_factory.mktemp("bad-psps") / "rig"
    with Rig(servers, directory, has_second_psp=True, more_config=BREAKER) as rig:
        rig.start_host("host-0")
        rig.start_host("host-1")
        rig.start_gateway()
        yield rig


@asynccontextmanager
async def shop_of(rig: Rig) -> AsyncIterator[Shop]:
    await rig.until_ready()
    await rig.until_owned_by("host-0", "host-1")
    connector = aiohttp.TCPConnector(limit=POSTS_AT_ONCE)
    async with aiohttp.ClientSession(connector=connector) as session:
        for url in (rig.simulator.url, second_url(rig)):
            await switch(url)
        await _until_first_is_used(rig, Shop(rig.url, rig.api_key, session))
        rig.merchant_id, rig.api_key = await rig.create_merchant("Another shop")
        yield Shop(rig.url, rig.api_key, session)


async def _until_first_is_used(rig: Rig, shop: Shop) -> None:
    """What was before may have opened its breaker."""
    async with asyncio.timeout(30):
        while True:
            answer = await shop.post()
            assert answer.is_accepted
            await shop.settled(answer.key)
            if (await charges(rig.simulator.url))[str(answer.key)]:
                return
            await asyncio.sleep(0.1)


async def post_many(shop: Shop, token: str, count: int) -> list[UUID]:
    room = asyncio.Semaphore(POSTS_AT_ONCE)

    async def post() -> UUID:
        async with room:
            answer = await shop.post(token=token)
        assert answer.is_accepted, answer
        return answer.key

    return await asyncio.gather(*(post() for _ in range(count)))


async def switch(url: str, **faults: object) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/_faults", data=msgspec.json.encode(faults)) as response,
    ):
        assert response.status == 200


async def charges(url: str) -> Counter[str]:
    """How often each order was charged at a PSP, by the client's key."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/_oracle/charges") as response,
    ):
        rows = msgspec.json.Decoder(OracleRow).decode_lines(await response.read())
    return Counter(str(row.order_key) for row in rows if row.captured)


def second_url(rig: Rig) -> str:
    assert rig.second is not None
    return rig.second.url


async def until_ended(rig: Rig, count: int, *, timeout_s: float = RESOLVED_S_MAX) -> None:
    await rig.until_ended(rig.merchant_id, count, timeout_s=timeout_s)


@pytest.mark.parametrize(
    "token",
    [
        "tok_charge_then_timeout",
        "tok_charge_then_refuse",
        "tok_conflict_409",
        "tok_lie_not_found",
        "tok_stored_500",
    ],
)
async def test_what_was_charged_and_not_said_is_found(rig: Rig, token: str) -> None:
    """Each is charged once at its own PSP, none at the second, and each has ended within a minute."""
    async with shop_of(rig) as shop:
        before = (await charges(rig.simulator.url)).total()
        second = (await charges(second_url(rig))).total()
        keys = await post_many(shop, token, ORDER_COUNT)
        started_s = time.monotonic()
        await until_ended(rig, ORDER_COUNT)
        assert time.monotonic() - started_s < RESOLVED_S_MAX
        charged = await charges(rig.simulator.url)
        assert all(charged[str(key)] == 1 for key in keys)
        assert charged.total() - before == ORDER_COUNT
        assert (await charges(second_url(rig))).total() == second
        answers = [await shop.get(f"/v1/payments/{key}", key) for key in keys]
        assert {answer.body["status"] for answer in answers} == {"succeeded"}


async def test_orders_go_to_the_second_psp_while_the_first_is_down(rig: Rig) -> None:
    """Those that never ran move, new ones go there at once, and the first takes over when it is back."""
    async with shop_of(rig) as shop:
        before = (await charges(rig.simulator.url)).total()
        await switch(rig.simulator.url, down=True)
        keys = await post_many(shop, "tok_approve", 60)
        await until_ended(rig, 60)
        second = await charges(second_url(rig))
        assert all(second[str(key)] == 1 for key in keys)
        assert (await charges(rig.simulator.url)).total() == before
        await switch(rig.simulator.url)
        posted = 60
        async with asyncio.timeout(30):
            while (await charges(rig.simulator.url)).total() == before:
                await post_many(shop, "tok_approve", 10)
                posted += 10
                await asyncio.sleep(0.2)
        await until_ended(rig, posted)


async def test_orders_rest_while_all_psps_are_down_and_end_afterwards(rig: Rig) -> None:
    """Parked in the books with a reason and a next try that the storefront sees; then charged once each."""
    async with shop_of(rig) as shop:
        for url in (rig.simulator.url, second_url(rig)):
            await switch(url, down=True)
        keys = await post_many(shop, "tok_approve", 80)
        await _until_parked(rig, 20)
        bodies: list[dict[str, Any]] = [
            (await shop.get(f"/v1/payments/{key}", key)).body for key in keys
        ]
        assert {body["status"] for body in bodies} == {"processing"}
        assert any(body["next_retry_at"] is not None for body in bodies)
        for url in (rig.simulator.url, second_url(rig)):
            await switch(url)
        await until_ended(rig, 80)
        first, second = await charges(rig.simulator.url), await charges(second_url(rig))
        assert all(first[str(key)] + second[str(key)] == 1 for key in keys)
        assert not await rig.fetch("SELECT 1 FROM timer")


async def test_a_new_owner_resumes_what_was_parked(rig: Rig) -> None:
    """Killed while orders rest, a host leaves them to the next one, which charges each once."""
    async with shop_of(rig) as shop:
        for url in (rig.simulator.url, second_url(rig)):
            await switch(url, down=True)
        keys = await post_many(shop, "tok_approve", 40)
        await _until_parked(rig, 10)
        for process in rig.processes[:2]:
            process.kill()
            process.wait(10)
        for url in (rig.simulator.url, second_url(rig)):
            await switch(url)
        successor = rig.start_host("host-2")
        await rig.until_owned_by("host-2")
        await until_ended(rig, 40)
        first, second = await charges(rig.simulator.url), await charges(second_url(rig))
        assert all(first[str(key)] + second[str(key)] == 1 for key in keys)
    successor.kill()
    successor.wait(10)
    rig.start_host("host-0")
    rig.start_host("host-1")


@pytest.mark.campaign
async def test_a_slow_psp_leaves_the_other_one_alone(rig: Rig) -> None:
    """While one answers only after every time limit, orders that the other one takes go on."""
    async with shop_of(rig) as shop:
        await switch(rig.simulator.url, slow_ms=20_000)
        slow = await post_many(shop, "tok_approve", 60)
        # Each host has a breaker of its own, and learns from its own calls alone. The slow PSP must be quick
        # again before the slow orders' retries are five minutes apart.
        async with asyncio.timeout(25):
            while await _fallen_back_count(rig) < HOST_COUNT:
                slow += await post_many(shop, "tok_approve", 5)
                await asyncio.sleep(0.2)
        quick = await post_many(shop, "tok_approve", 50)
        async with asyncio.timeout(10):
            while (probes := await _only_at_the_first(rig, quick)) is None:
                await asyncio.sleep(0.1)
        # A breaker that is half open finds out by real orders whether its PSP is back. They are asked
        # for until it is: three a host each time, and so slow a PSP fails them for five seconds.
        assert len(probes) <= 2 * HOST_COUNT * PROBES
        await switch(rig.simulator.url)
        for key in (*slow, *probes):
            await shop.settled(key, timeout_s=RESOLVED_S_MAX)
        first, second = await charges(rig.simulator.url), await charges(second_url(rig))
        assert all(first[str(key)] + second[str(key)] == 1 for key in (*slow, *quick))


async def _fallen_back_count(rig: Rig) -> int:
    """How many hosts have sent orders of this test's merchant to the second PSP."""
    rows = await rig.fetch(
        "SELECT count(DISTINCT partition.owner) AS n FROM attempt"
        " JOIN payment_order USING (partition_index, order_no)"
        " JOIN merchant USING (merchant_no) JOIN partition USING (partition_index)"
        " WHERE attempt.psp = $1 AND merchant.merchant_id = $2",
        *(SECOND, rig.merchant_id),
    )
    return int(rows[0]["n"])


async def _only_at_the_first(rig: Rig, keys: Sequence[UUID]) -> Sequence[UUID] | None:
    """Orders that only the first PSP was asked for and that have not ended; None while others are open."""
    rows = await rig.fetch(
        "SELECT idempotency_key AS key, order_outcome.order_no IS NOT NULL AS has_ended, EXISTS ("
        "   SELECT FROM attempt WHERE (partition_index, order_no)"
        "       = (payment_order.partition_index, payment_order.order_no) AND psp = $1"
        ") AS is_at_second FROM payment_order"
        " LEFT JOIN order_outcome USING (partition_index, order_no)"
        " WHERE idempotency_key = ANY ($2::uuid[])",
        *(SECOND, list(keys)),
    )
    is_over = len(rows) == len(keys) and all(
        row["has_ended"] for row in rows if row["is_at_second"]
    )
    return [row["key"] for row in rows if not row["has_ended"]] if is_over else None


async def _until_parked(rig: Rig, count: int) -> None:
    async with asyncio.timeout(30):
        while True:
            rows = await rig.fetch(
                "SELECT count(*) AS n FROM open_order WHERE parked_reason IS NOT NULL"
            )
            if rows[0]["n"] >= count:
                return
            await asyncio.sleep(0.1)
