"""Processes frozen with SIGSTOP: alive for the kernel, silent for everybody else."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from ops.local.health import ServerRole
from tests.acceptance.test_crash_points import assert_books_match, post_all
from tests.rig import Rig, until
from tests.servers import SharedServers
from tests.shop import open_shop, successful_charges

OWNED_AGAIN_S_MAX = 5.0
# Over three leases; and as long as a machine may well stand still.
FROZEN_S = (5.0, 20.0)


@pytest.fixture
def rig(servers: SharedServers, tmp_path: Path) -> Iterator[Rig]:
    """A gateway and one host."""
    with Rig(servers, tmp_path) as rig:
        rig.start_gateway()
        rig.start_host("host-1")
        asyncio.run(rig.until_owned_by("host-1"))
        asyncio.run(rig.until_ready())
        yield rig


@asynccontextmanager
async def frozen(*pids: int) -> AsyncIterator[None]:
    """Stop processes for a while."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_no_2xx_while_one_copy_alone_holds_the_order(rig: Rig) -> None:
    """With the replica and the hosts frozen nothing is acknowledged, not even what was before."""
    replica = await asyncio.to_thread(rig.servers.pid, ServerRole.REDIS_REPLICA)
    host = rig.processes[-1].pid
    async with open_shop(rig.url, rig.api_key) as shop:
        known = [uuid4() for _ in range(20)]
        assert all(answer.is_accepted for answer in await post_all(shop, known))
        await rig.until_ended(rig.merchant_id, len(known))
        fresh = [uuid4() for _ in range(20)]
        async with frozen(replica, host):
            answers = await asyncio.gather(
                *(shop.post(key, amount_minor=1_000 + key.int % 997) for key in fresh + fresh)
            )
            assert [answer.status for answer in answers] == [503] * 40
            assert all(answer.body["code"] == "store_unavailable" for answer in answers)
            assert all(answer.body["details"]["may_run"] for answer in answers)
            # A repeat of what is waiting there is no proof of a second copy either.
            again = await asyncio.gather(
                *(shop.post(key, amount_minor=1_000 + key.int % 997) for key in fresh)
            )
            assert [answer.status for answer in again] == [503] * 20
        answers = await post_all(shop, fresh)
        assert all(answer.is_accepted for answer in answers)
        await rig.until_ended(rig.merchant_id, len(known + fresh))
    charges = await successful_charges(rig.simulator.url, rig.merchant_id)
    assert charges == {str(key): 1 for key in known + fresh}


async def test_the_ledger_is_a_second_copy(rig: Rig) -> None:
    """With the replica frozen and hosts running, a 2xx is given only for orders in the ledger."""
    replica = await asyncio.to_thread(rig.servers.pid, ServerRole.REDIS_REPLICA)
    keys = [uuid4() for _ in range(50)]
    async with open_shop(rig.url, rig.api_key) as shop:
        async with frozen(replica):
            answers = await asyncio.gather(
                *(shop.post(key, amount_minor=1_000 + key.int % 997) for key in keys)
            )
            accepted = [answer.key for answer in answers if answer.is_accepted]
            assert {answer.status for answer in answers} <= {201, 202, 503}
            rows = await rig.fetch(
                "SELECT idempotency_key FROM payment_order WHERE idempotency_key = ANY($1)",
                accepted,
            )
            assert {row["idempotency_key"] for row in rows} == set(accepted)
        assert all(answer.is_accepted for answer in await post_all(shop, keys))
        await rig.until_ended(rig.merchant_id, len(keys))
    charges = await successful_charges(rig.simulator.url, rig.merchant_id)
    assert charges == {str(key): 1 for key in keys}


@pytest.mark.parametrize(
    "frozen_s_min",
    [FROZEN_S[0], pytest.param(FROZEN_S[1], marks=pytest.mark.campaign)],
)
async def test_an_owner_frozen_in_the_middle_of_a_flush(rig: Rig, frozen_s_min: float) -> None:
    """Its partitions are owned again within 5 s, and what it writes after its thaw is refused."""
    sleeper = rig.start_host("host-0", {"TALLY_FREEZE_AT": "flush_before_commit:3"})
    await rig.until_owned_by("host-0", "host-1")
    keys = [uuid4() for _ in range(300)]
    async with open_shop(rig.url, rig.api_key) as shop:
        posting = asyncio.create_task(post_all(shop, keys))
        await until(lambda: _is_stopped(sleeper.pid))
        frozen_s = time.monotonic()
        await rig.until_owned_by("host-1", timeout_s=15)
        assert time.monotonic() - frozen_s < OWNED_AGAIN_S_MAX
        assert all(answer.is_accepted for answer in await posting)
        await rig.until_ended(rig.merchant_id, len(keys))
        await asyncio.sleep(max(0.0, frozen_s_min - (time.monotonic() - frozen_s)))
        os.kill(sleeper.pid, signal.SIGCONT)
        await until(lambda: "late_write_refused" in rig.log_of("host-0"))
        # It is a healthy host again, and takes its share like any other.
        await rig.until_owned_by("host-0", "host-1")
        more = [uuid4() for _ in range(50)]
        assert all(answer.is_accepted for answer in await post_all(shop, more))
        await rig.until_ended(rig.merchant_id, len(keys + more))
    charges = await successful_charges(rig.simulator.url, rig.merchant_id)
    assert charges == {str(key): 1 for key in keys + more}
    await assert_books_match(rig, rig.merchant_id, len(keys + more))


def _is_stopped(pid: int) -> bool:
    """Whether the kernel holds the process stopped."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return stat.rpartition(")")[2].split()[0] == "T"
