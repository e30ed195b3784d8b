"""A load on a local stack: its storefronts are made, its secrets read, from the stack's home."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from loadtest.history.plan import LoadPlan
from loadtest.history.receiving import Receiving
from loadtest.history.running import Load, final_reads, run_load
from loadtest.history.storefronts import open_storefronts
from ops.stack.config_file import read_config
from runtime.config import Config
from storage.recounting import BooksReader

# A run that was stopped waits so long for orders that are still under way.
FINAL_READS_S_MAX = 60.0
_LOOK_EVERY_S = 0.3


class StackLoad:
    """Loads the running stack of a home until it is told to stop, then reads every key to its end."""

    def __init__(
        self,
        home: Path,
        gateway_urls: Sequence[str],
        *,
        seed: int,
        rate_per_s: float,
        seconds: float = float("inf"),
        has_webhooks: bool = False,
    ) -> None:
        """``has_webhooks``: storefronts have endpoints, and what these get is recorded (I18)."""
        self._home = home
        self._gateway_urls = tuple(gateway_urls)
        self._seed = seed
        self._rate_per_s = rate_per_s
        self._seconds = seconds
        self._load: Load | None = None
        self._receiving: Receiving | None = Receiving() if has_webhooks else None

    async def run(self, directory: Path, stop: asyncio.Event) -> Load:
        """Send until told to stop, and wait for the last answers.

        Raises StorefrontsUnmade, StorageUnavailable, ConfigError before anything is sent.
        """
        config = read_config(self._home, {})
        plan = await self._plan(config)
        if self._receiving is not None:
            await self._receiving.subscribe(self._gateway_urls[0], plan.storefronts)
        self._load = await run_load(plan, directory, stop, config)
        return self._load

    async def read_final(self, directory: Path) -> bool:
        """After quiescence, read every key to its end; return whether that was complete."""
        if self._load is None or self._load.directory != directory:
            return False
        is_complete = await final_reads(self._load, FINAL_READS_S_MAX)
        if self._receiving is not None:
            await self._receiving.write(directory)
            self._receiving.close()
        return is_complete

    async def wait_quiet(self, seconds_max: float) -> bool:
        """Wait until no order is open but for what a buyer has to do; return whether that came about.

        Raises BooksUnread.
        """
        until_s = time.monotonic() + seconds_max
        reader = await BooksReader.open(read_config(self._home, {}))
        try:
            while any(not row[-1] for row in (await reader.moment("open_orders"))["open_orders"]):
                if time.monotonic() >= until_s:
                    return False
                await asyncio.sleep(_LOOK_EVERY_S)
        finally:
            await reader.close()
        return True

    async def _plan(self, config: Config) -> LoadPlan:
        storefronts = await open_storefronts(config, self._gateway_urls[0])
        return LoadPlan(
            seed=self._seed,
            seconds=self._seconds,
            rate_per_s=self._rate_per_s,
            gateway_urls=self._gateway_urls,
            storefronts=tuple(storefronts),
            fingerprint_key=config.secret(config.secrets.fingerprint_key_file).encode(),
        )
