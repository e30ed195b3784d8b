"""Mutants in real processes, on real servers: a defect that stops everything would test no checker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest

from loadtest.mutants.catalogue import MUTANTS
from runtime.mutation import MUTANT_VARIABLE, TEST_STACK_VARIABLE
from tests.rig import Rig
from tests.servers import SharedServers
from tests.shop import open_shop

# One of each kind of those that change a statement or a script: whether the server takes it, no
# fake can tell. That each changes what it is to change, tests/unit/loadtest/mutants shows of all.
IN_A_STORE = (
    "second_body_wins",  # the script that appends
    "removed_up_to_the_last_read",  # a command to the queue
    "fence_skipped",  # the statement before each flush
    "epoch_kept_at_takeover",  # the statement of a claim
    "balance_written_from_memory",  # rows of a flush
    "settled_again_after_unknown",  # what follows a COMMIT
)
ORDER_COUNT = 24
# At a few of the orders at once, and with all servers well, hardly any mutant does harm.
IN_FLIGHT = 8
SETTLED_COUNT_MIN = 20


@pytest.fixture(scope="module")
def rig(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Stores and a PSP; each test brings its own gateway and host."""
    with Rig(servers, tmp_path_factory.mktemp("mutants")) as rig:
        yield rig


async def _settled_count(rig: Rig) -> int:
    """Send orders, each twice and with another body, and return how many of them were settled."""
    turn = asyncio.Semaphore(IN_FLIGHT)
    async with open_shop(rig.url, rig.api_key) as shop:

        async def pay() -> bool:
            key = uuid4()
            async with turn:
                answers = [await shop.post(key, wait_s=10), await shop.post(key, wait_s=10)]
                await shop.post(key, amount_minor=2_999)
            return all(answer.status == 201 for answer in answers)

        return sum(await asyncio.gather(*(pay() for _ in range(ORDER_COUNT))))


@pytest.mark.campaign
@pytest.mark.parametrize("name", IN_A_STORE)
async def test_most_payments_settle_all_the_same(rig: Rig, name: str) -> None:
    """The defect is in both processes, neither ends of it, and payments are answered 201."""
    assert name in MUTANTS
    environment = {MUTANT_VARIABLE: name, TEST_STACK_VARIABLE: "1"}
    rig.servers.empty_valkey()
    processes = {
        "gateway": rig.start_gateway(f"gateway-{name}", environment),
        "host": rig.start_host(name, environment),
    }
    try:
        await rig.until_owned_by(name)
        await rig.until_ready()
        assert await _settled_count(rig) >= SETTLED_COUNT_MIN
        ended = {part: process.poll() for part, process in processes.items()}
        assert ended == {"gateway": None, "host": None}
    finally:
        for process in processes.values():
            process.kill()
            process.wait(10)
        # The next one need not wait until it lapses.
        await rig.fetch("UPDATE host_lease SET released_at = now() WHERE released_at IS NULL")
    for log in (rig.log_of(f"gateway-{name}"), rig.log_of(name)):
        assert "mutant_active" in log
        assert "partition_halted" not in log
