"""Processes that are asked to end, under load: they finish what they began and hand over the rest."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.acceptance.test_crash_points import assert_books_match, post_all
from tests.rig import Rig
from tests.servers import SharedServers
from tests.shop import Answer, Shop, open_shop, successful_charges

SHOPPER_COUNT = 20

# So long after the SIGTERM a process may still be at work: its own limits are 10 s.
ENDED_S_MAX = 15.0


@pytest.fixture(scope="module")
def rig(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One gateway and one host that stay; each test adds one that leaves."""
    directory = tmp_path_factory.mktemp("drains")
    with Rig(servers, directory, simulator=("--latency-ms", "200")) as rig:
        rig.start_gateway("gateway-0")
        rig.start_host("host-0")
        asyncio.run(rig.until_owned_by("host-0"))
        asyncio.run(rig.until_ready())
        yield rig


async def test_a_gateway_that_ends_answers_what_it_took(rig: Rig) -> None:
    """Every request gets a whole answer or can be repeated: each order ends, charged once."""
    merchant_id, api_key = await rig.create_merchant("Gateway drain")
    gateway = rig.start_gateway("gateway-1")
    async with asyncio.timeout(30):
        while '"listening"' not in rig.log_of("gateway-1"):
            await asyncio.sleep(0.05)
    answers = await _shop_while(rig, api_key, gateway.send_signal, signal.SIGTERM)
    code = await asyncio.to_thread(gateway.wait, ENDED_S_MAX)
    assert code == 0, rig.log_of("gateway-1")[-2000:]
    # 0 is a connection that the dying process' backlog held: it answered nothing, and read nothing.
    assert {answer.status for answer in answers} <= {0, 201, 202}, _count(answers)
    assert _count(answers)[0] <= SHOPPER_COUNT
    await _assert_all_paid_once(rig, merchant_id, api_key, answers)


async def test_a_host_that_ends_hands_over(rig: Rig) -> None:
    """A host that ends gives its partitions away, with orders in flight; each ends, charged once."""
    merchant_id, api_key = await rig.create_merchant("Host drain")
    host = rig.start_host("host-1")
    await rig.until_owned_by("host-0", "host-1")
    answers = await _shop_while(rig, api_key, host.send_signal, signal.SIGTERM)
    code = await asyncio.to_thread(host.wait, ENDED_S_MAX)
    assert code == 0, rig.log_of("host-1")[-2000:]
    assert {answer.status for answer in answers} <= {201, 202}, _count(answers)
    await rig.until_owned_by("host-0", timeout_s=5)
    await _assert_all_paid_once(rig, merchant_id, api_key, answers)


async def _shop_while(rig: Rig, api_key: str, act: object, number: signal.Signals) -> list[Answer]:
    """Post from many storefronts for two seconds, and act after the first."""
    assert callable(act)
    answers: list[Answer] = []
    is_over = asyncio.Event()
    async with open_shop(rig.url, api_key, connection_count=SHOPPER_COUNT) as shop:
        shopping = asyncio.gather(
            *(
                _shop_on(shop, is_over, answers, wait_s=turn % 2 * 5)
                for turn in range(SHOPPER_COUNT)
            )
        )
        await asyncio.sleep(1)
        act(number)
        await asyncio.sleep(1)
        is_over.set()
        await shopping
    return answers


async def _shop_on(
    shop: Shop, is_over: asyncio.Event, answers: list[Answer], *, wait_s: int
) -> None:
    while not is_over.is_set():
        key = uuid4()
        answers.append(await shop.post(key, amount_minor=1_000 + key.int % 997, wait_s=wait_s))
        await asyncio.sleep(0.02)


async def _assert_all_paid_once(
    rig: Rig, merchant_id: str, api_key: str, answers: list[Answer]
) -> None:
    keys = [answer.key for answer in answers]
    async with open_shop(rig.url, api_key) as shop:
        unaccepted = [answer.key for answer in answers if not answer.is_accepted]
        assert all(answer.is_accepted for answer in await post_all(shop, unaccepted))
        await rig.until_ended(merchant_id, len(keys))
    assert await successful_charges(rig.simulator.url, merchant_id) == {str(key): 1 for key in keys}
    await assert_books_match(rig, merchant_id, len(keys))


def _count(answers: list[Answer]) -> Counter[int]:
    return Counter(answer.status for answer in answers)
