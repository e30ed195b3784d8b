"""A message that ends the process that decodes it: its hosts die, until one finds it in a child's place.

Apart from other poison, since rigs share the queue: another one's host would take the message in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest

from storage.ports import STALLS_BEFORE_CARE
from tests.rig import Rig
from tests.servers import SharedServers
from tests.shop import open_shop, successful_charges

MARK = "ends its host"
DEADLY = {"TALLY_CRASH_ON": MARK}
NEIGHBOUR_COUNT = 200


@pytest.fixture
def rig(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A gateway, and a host that dies of the mark."""
    with Rig(servers, tmp_path_factory.mktemp("deadly")) as rig:
        rig.start_gateway("gateway-0")
        rig.start_host("host-0", DEADLY)
        asyncio.run(rig.until_owned_by("host-0"))
        asyncio.run(rig.until_ready())
        yield rig


async def test_a_message_that_ends_its_host_is_found_by_a_child(rig: Rig) -> None:
    """Hosts die of it until two in a row made no progress; then it alone is set aside, and all others are paid."""
    poison = uuid4()
    keys = [uuid4() for _ in range(NEIGHBOUR_COUNT)]
    async with open_shop(rig.url, rig.api_key) as shop:
        posts = [
            shop.post(key) if key != poison else shop.post(key, description=MARK)
            for key in (*keys[:100], poison, *keys[100:])
        ]
        answers = await asyncio.gather(*posts)
        assert all(answer.is_accepted for answer in answers)
        assert await asyncio.to_thread(rig.processes[-1].wait, 20) == -9
        died_count = 1
        async with asyncio.timeout(120):
            # As the supervisor would: whenever the host has died, the next one starts.
            host = rig.start_host("host-1", DEADLY)
            while not await rig.fetch("SELECT FROM dead_letter"):
                if host.poll() is not None:
                    died_count += 1
                    host = rig.start_host(f"host-{died_count}", DEADLY)
                await asyncio.sleep(0.1)
        # Some of them got a flush through before they read it, which counts as progress.
        assert STALLS_BEFORE_CARE <= died_count <= STALLS_BEFORE_CARE + 4
        await rig.until_ended(rig.merchant_id, NEIGHBOUR_COUNT)
        shown = await shop.get(f"/v1/payments/{poison}")
        assert (shown.status, shown.body["status"]) == (200, "processing")
    rows = await rig.fetch("SELECT reason, attempt_count FROM dead_letter")
    assert [tuple(row) for row in rows] == [("kills_host", STALLS_BEFORE_CARE + 1)]
    assert await successful_charges(rig.simulator.url, rig.merchant_id) == {
        str(key): 1 for key in keys
    }
    # The host that found it lives, and reads the partition as ever once the message is off the stream.
    async with asyncio.timeout(10):
        while await rig.fetch("SELECT FROM partition WHERE stall_count >= $1", STALLS_BEFORE_CARE):
            await asyncio.sleep(0.05)
    assert host.poll() is None
