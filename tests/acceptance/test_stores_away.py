"""Stores that stay away for a while under load: what is accepted meanwhile settles afterwards, once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from gateway.health import INTAKE_LATE_S
from ops.local.health import ServerRole
from tests.acceptance.test_crash_points import assert_books_match, post_all
from tests.rig import Rig
from tests.servers import SharedServers
from tests.shop import Answer, Shop, open_shop, successful_charges

SHOPPER_COUNT = 20
PAUSE_S = 0.05
# So long a store is away, and until then at the latest its absence has been noticed.
AWAY_S = 6.0
NOTICED_S = 3.5
# A commit counts as late after two seconds, and a call that started before takes up to a second.
HELD_S = 3.5
DEFERRED = "Tallystick-Key-Check"


@pytest.fixture(scope="module")
def rig(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Two gateways on one port and two hosts, for the whole module."""
    directory = tmp_path_factory.mktemp("away")
    with Rig(servers, directory, simulator=("--latency-ms", "50")) as rig:
        for name in ("gateway-0", "gateway-1"):
            rig.start_gateway(name)
        for name in ("host-0", "host-1"):
            rig.start_host(name)
        asyncio.run(rig.until_owned_by("host-0", "host-1"))
        asyncio.run(rig.until_ready())
        yield rig


def with_children(pid: int) -> list[int]:
    """The process and all that it started: to stop a server is to stop every one of its processes."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


class Shopping:
    """Shoppers that post one order after the other, each once, and remember when."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._is_over = asyncio.Event()
        self.answers: list[tuple[float, Answer]] = []
        self._tasks = [asyncio.create_task(self._shop_on()) for _ in range(SHOPPER_COUNT)]

    async def end(self) -> None:
        self._is_over.set()
        await asyncio.gather(*self._tasks)

    def between(self, from_s: float, to_s: float) -> list[Answer]:
        """The answers to what was posted then."""
        return [answer for at_s, answer in self.answers if from_s <= at_s < to_s]

    async def _shop_on(self) -> None:
        while not self._is_over.is_set():
            key, at_s = uuid4(), time.monotonic()
            answer = await self._shop.post(key, amount_minor=1_000 + key.int % 997)
            self.answers.append((at_s, answer))
            await asyncio.sleep(PAUSE_S)


async def readiness(rig: Rig) -> tuple[int, str]:
    """The status of /readyz, and its word."""
    async with aiohttp.ClientSession() as session, session.get(rig.url + "/readyz") as response:
        return response.status, (await response.json())["status"]


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGSTOP, id="frozen", marks=pytest.mark.campaign),
        pytest.param(signal.SIGKILL, id="killed"),
    ],
)
async def test_the_books_are_away(rig: Rig, number: signal.Signals) -> None:
    """The gateways go on accepting with a deferred key check, and everything settles afterwards, once."""
    merchant_id, api_key = await rig.create_merchant("Away shop")
    pid = await asyncio.to_thread(rig.servers.pid, ServerRole.POSTGRES_PRIMARY)
    async with open_shop(rig.url, api_key, connection_count=SHOPPER_COUNT) as shop:
        shopping = Shopping(shop)
        await asyncio.sleep(1.5)
        settled_key = shopping.answers[0][1].key
        await shop.settled(settled_key)
        gone_s = time.monotonic()
        frozen = [pid] if number is signal.SIGKILL else with_children(pid)
        for one in frozen:
            os.kill(one, number)
        await asyncio.sleep(AWAY_S)
        status, word = await readiness(rig)
        assert (status, word) == (200, "degraded")
        back_s = time.monotonic()
        if number is signal.SIGSTOP:
            for one in frozen:
                os.kill(one, signal.SIGCONT)
        else:
            await asyncio.to_thread(rig.servers.heal)
        await asyncio.sleep(1.0)
        await shopping.end()
        answers = [answer for _, answer in shopping.answers]
        statuses = Counter(answer.status for answer in answers)
        meanwhile = shopping.between(gone_s + NOTICED_S, back_s - 0.5)
        assert len(meanwhile) > 50, statuses
        assert Counter(a.status for a in meanwhile) == {202: len(meanwhile)}
        assert all(answer.headers.get(DEFERRED) == "deferred" for answer in meanwhile)
        assert statuses.keys() <= {201, 202, 503}, statuses
        unaccepted = [answer.key for answer in answers if not answer.is_accepted]
        # Also within the first seconds hardly anybody is sent away.
        assert len(unaccepted) <= SHOPPER_COUNT, statuses
        assert all(answer.is_accepted for answer in await post_all(shop, unaccepted))
        await rig.until_ended(merchant_id, len(answers), timeout_s=60)
    charges = await successful_charges(rig.simulator.url, merchant_id)
    assert charges == {str(answer.key): 1 for answer in answers}
    await assert_books_match(rig, merchant_id, len(answers))


@pytest.mark.campaign
async def test_the_standby_stands_still(rig: Rig) -> None:
    """Commits hang: readiness says so, PSP calls are held, accepting goes on, everything settles once."""
    merchant_id, api_key = await rig.create_merchant("Standby shop")
    pid = await asyncio.to_thread(rig.servers.pid, ServerRole.POSTGRES_STANDBY)
    async with open_shop(rig.url, api_key, connection_count=SHOPPER_COUNT) as shop:
        shopping = Shopping(shop)
        await asyncio.sleep(1.0)
        gone_s = time.monotonic()
        frozen = with_children(pid)
        for one in frozen:
            os.kill(one, signal.SIGSTOP)
        await asyncio.sleep(HELD_S)
        charged_count = sum((await successful_charges(rig.simulator.url, merchant_id)).values())
        await asyncio.sleep(INTAKE_LATE_S - HELD_S + 1.0)
        held_count = sum((await successful_charges(rig.simulator.url, merchant_id)).values())
        assert await readiness(rig) == (200, "degraded")
        back_s = time.monotonic()
        for one in frozen:
            os.kill(one, signal.SIGCONT)
        await shopping.end()
        answers = [answer for _, answer in shopping.answers]
        assert held_count == charged_count > 0
        meanwhile = shopping.between(gone_s, back_s)
        assert len(meanwhile) > 50
        assert all(answer.is_accepted for answer in meanwhile)
        await rig.until_ended(merchant_id, len(answers), timeout_s=60)
    charges = await successful_charges(rig.simulator.url, merchant_id)
    assert charges == {str(answer.key): 1 for answer in answers}
    await assert_books_match(rig, merchant_id, len(answers))
