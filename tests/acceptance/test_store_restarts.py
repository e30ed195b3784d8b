"""Stores and the PSP killed under load and started again: nothing lost, nothing charged twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from uuid import uuid4

import pytest

from ops.local.health import ServerRole
from tests.acceptance.test_crash_points import assert_books_match, post_all
from tests.rig import Rig
from tests.servers import SharedServers
from tests.shop import Answer, Shop, open_shop, successful_charges

# Storefronts posting side by side, each so often: a few hundred orders a second.
SHOPPER_COUNT = 20
PAUSE_S = 0.05

# With this latency calls are in flight, and flushes under way, when the blow falls.
LATENCY_MS = "100"

Blow = Callable[[Rig], Awaitable[None]]


@pytest.fixture(scope="module")
def rig(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Two gateways on one port and two hosts, for the whole module."""
    directory = tmp_path_factory.mktemp("restarts")
    with Rig(servers, directory, simulator=("--latency-ms", LATENCY_MS)) as rig:
        for name in ("gateway-0", "gateway-1"):
            rig.start_gateway(name)
        for name in ("host-0", "host-1"):
            rig.start_host(name)
        asyncio.run(rig.until_owned_by("host-0", "host-1"))
        asyncio.run(rig.until_ready())
        yield rig


def killed(*roles: ServerRole) -> Blow:
    async def strike(rig: Rig) -> None:
        await asyncio.to_thread(rig.servers.kill, *roles)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(rig.servers.heal)

    return strike


async def standby_frozen(rig: Rig) -> None:
    pid = await asyncio.to_thread(rig.servers.pid, ServerRole.POSTGRES_STANDBY)
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(3)
    os.kill(pid, signal.SIGCONT)


async def psp_restarted(rig: Rig) -> None:
    await asyncio.to_thread(rig.restart_simulator)


BLOWS = {
    "postgres primary killed": killed(ServerRole.POSTGRES_PRIMARY),
    "postgres standby frozen": standby_frozen,
    "redis primary killed": killed(ServerRole.REDIS_PRIMARY),
    "both copies of both stores killed": killed(*ServerRole),
    "psp killed": psp_restarted,
}


@pytest.mark.parametrize("blow", BLOWS.values(), ids=BLOWS.keys())
async def test_a_restart_under_load_loses_and_doubles_nothing(rig: Rig, blow: Blow) -> None:
    """Every order posted before, during or after the blow ends, and is charged once."""
    merchant_id, api_key = await rig.create_merchant("Restart shop")
    answers: list[Answer] = []
    async with open_shop(rig.url, api_key, connection_count=SHOPPER_COUNT) as shop:
        is_over = asyncio.Event()
        shopping = asyncio.gather(*(_shop_on(shop, is_over, answers) for _ in range(SHOPPER_COUNT)))
        await asyncio.sleep(1)
        await blow(rig)
        await asyncio.sleep(0.5)
        is_over.set()
        await shopping
        # A storefront that got no answer, or a 503, repeats the key; it can't know which of them ran.
        assert {answer.status for answer in answers} <= {201, 202, 503}, Counter(
            answer.status for answer in answers
        )
        keys = [answer.key for answer in answers]
        unaccepted = [answer.key for answer in answers if not answer.is_accepted]
        again = await post_all(shop, unaccepted)
        assert all(answer.is_accepted for answer in again)
        await rig.until_ended(merchant_id, len(keys), timeout_s=45)
    assert await successful_charges(rig.simulator.url, merchant_id) == {str(key): 1 for key in keys}
    await assert_books_match(rig, merchant_id, len(keys))


async def _shop_on(shop: Shop, is_over: asyncio.Event, answers: list[Answer]) -> None:
    """Post one order after the other, each once."""
    while not is_over.is_set():
        key = uuid4()
        answers.append(await shop.post(key, amount_minor=1_000 + key.int % 997))
        await asyncio.sleep(PAUSE_S)
