"""The processes of a storefront, some of which are killed while they pay."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import msgspec

from loadtest.chaos.failures import ChaosFailed
from loadtest.client.job import ClientJob, Kind, Paid, paid_path, read_lines

# Three async ones and a blocking one; carts are dealt out in turn.
KINDS = (Kind.ASYNC, Kind.SYNC, Kind.ASYNC, Kind.ASYNC)

# A storefront's process lives for some seconds between two kills: long enough to have much under way.
KILL_EVERY_S = (3.0, 9.0)


class Storefronts:
    """Keeps every process running until its carts are paid."""

    def __init__(
        self, *, url: str, api_key: str, directory: Path, carts: Sequence[int], rate_per_s: float
    ) -> None:
        self._directory = directory
        self._url, self._api_key = url, api_key
        self._rate_per_s = rate_per_s / len(KINDS)
        self._dealt = [list(carts[place :: len(KINDS)]) for place in range(len(KINDS))]
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self.kill_count = 0

    @property
    def store_path(self) -> Path:
        return self._directory / "keys.db"

    def paid(self) -> list[Paid]:
        """Every line of a cart that came to its end, so far."""
        paths = [paid_path(self._directory, _name(place)) for place in range(len(KINDS))]
        return [line for line in read_lines(paths, Paid) if isinstance(line, Paid)]

    async def run(self) -> None:
        """Return when everything is paid. Raises ChaosFailed when a process ends by itself before."""
        tasks = [asyncio.create_task(self._keep(place)) for place in range(len(KINDS))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def kill_some(self, draw: random.Random) -> None:
        """Kill a process now and then, until canceled."""
        while True:
            await asyncio.sleep(draw.uniform(*KILL_EVERY_S))
            running = sorted(self._running)
            if running:
                self.kill_count += 1
                with suppress(ProcessLookupError):
                    self._running[draw.choice(running)].kill()

    async def _keep(self, place: int) -> None:
        while left := self._left(place):
            with (self._directory / f"{_name(place)}.log").open("a", encoding="utf-8") as log:
                process = await self._start(place, left, log)
                self._running[place] = process
                try:
                    code = await process.wait()
                finally:
                    self._running.pop(place, None)
                    if process.returncode is None:
                        process.kill()
                        await process.wait()
            if code > 0:
                raise ChaosFailed(f"a storefront failed: see {log.name}")

    async def _start(self, place: int, carts: list[int], log: TextIO) -> asyncio.subprocess.Process:
        job = ClientJob(
            url=self._url,
            api_key=self._api_key,
            kind=KINDS[place],
            store_path=str(self.store_path),
            directory=str(self._directory),
            name=_name(place),
            carts=carts,
            rate_per_s=self._rate_per_s,
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "loadtest.client.paying"),
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        process.stdin.close()
        return process

    def _left(self, place: int) -> list[int]:
        lines = read_lines([paid_path(self._directory, _name(place))], Paid)
        paid = {line.cart for line in lines if isinstance(line, Paid)}
        return [cart for cart in self._dealt[place] if cart not in paid]


def _name(place: int) -> str:
    return f"storefront-{place}"
