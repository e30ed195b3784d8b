"""Ray's control service killed: hosts must not notice, and afterwards it must do as it is told again."""

from __future__ import annotations

import asyncio
import time

from loadtest.chaos.failures import ChaosFailed
from loadtest.chaos.faults.port import Detail, Scene
from loadtest.chaos.faults.processes import Kill
from loadtest.chaos.proc import is_running
from loadtest.chaos.stack import ChaosStack
from runtime.faults import StorageUnavailable
from storage.intent import IntentStore
from storage.opening_books import read_pool
from storage.status import StatusQueries

CONTROL_SERVICE = "gcs"

# Starting a host takes seconds, giving one up its drain besides.
SCALED_TIMEOUT_S = 60.0
_LOOK_EVERY_S = 0.05


class KillControlService(Kill):
    """SIGKILL; then one host more is wanted at once, and as many as before once it is there."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._hosts: list[int] = []
        self._killed_at_s = 0.0

    async def begin(self) -> Detail:
        self._hosts = [record.pid for record in self._scene.stack.records("host")]
        detail = await super().begin()
        self._killed_at_s = time.monotonic()
        return detail

    async def heal(self) -> Detail:
        if not self._hosts:
            return await super().heal()  # it was never begun
        stack, host_count = self._scene.stack, len(self._hosts)
        more, back = await asyncio.gather(
            scaled(stack, host_count + 1, since_s=self._killed_at_s), super().heal()
        )
        lost = [pid for pid in self._hosts if not is_running(pid)]
        fewer = await scaled(stack, host_count, since_s=time.monotonic())
        return {
            **back,
            "hosts_lost": len(lost),
            "scales_after_s": more,
            "scales_down_after_s": fewer,
            "is_back": back["is_back"] and None not in (more, fewer),
        }


async def scaled(stack: ChaosStack, host_count: int, *, since_s: float) -> float | None:
    """Want that many hosts, and wait until so many own everything; return the seconds, or None: never."""
    config = stack.config
    if config is None:
        raise ChaosFailed("the stack does not run")
    pool = read_pool(
        config,
        config.postgres.shards[0],
        "gateway",
        application_name="tally chaos",
        session_count_max=1,
    )
    try:
        await IntentStore(pool).set_host_count(host_count, actor="tally chaos")
        async with asyncio.timeout(SCALED_TIMEOUT_S):
            await _wait_shared(stack, host_count, config.deployment.partition_count)
    except TimeoutError:
        return None
    finally:
        await pool.close()
    return round(time.monotonic() - since_s, 3)


async def _wait_shared(stack: ChaosStack, host_count: int, partition_count: int) -> None:
    queries = StatusQueries(stack.pool)
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        try:
            hosts = await queries.hosts()
        except StorageUnavailable:
            continue
        shares = [len(host.partition_indexes) for host in hosts if is_running(host.pid)]
        if len(shares) == host_count and all(shares) and sum(shares) == partition_count:
            return
