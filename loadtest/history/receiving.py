"""A receiver of webhooks for a load's storefronts: what it got is one more independent record of the run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import msgspec

from loadtest.checker.files import WEBHOOKS_NAME
from loadtest.deliveries.storefront import Storefront as Asker
from loadtest.deliveries.storefront import a_sink
from loadtest.history.plan import Storefront

# A try that failed is made again after five seconds: silence for longer means that nothing is on its way.
SILENCE_S = 7.0
LOOK_S = 0.5
RECEIVED_S_MAX = 120.0


class Receiving:
    """The receiver in a process of its own. Call ``close`` in the end."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._port = self._open.enter_context(a_sink())
        self._storefronts: Sequence[Storefront] = ()

    async def subscribe(self, gateway_url: str, storefronts: Sequence[Storefront]) -> None:
        """Make an endpoint for each storefront, before it sells anything."""
        self._storefronts = storefronts
        for one in storefronts:
            headers = {"Authorization": f"Bearer {one.api_key}"}
            async with aiohttp.ClientSession(headers=headers) as session:
                url = f"http://127.0.0.1:{self._port}{_path(one)}"
                await Asker(session, gateway_url).ask("POST", "/v1/webhook_endpoints", {"url": url})

    async def write(self, directory: Path) -> None:
        """Wait until nothing comes any more, and write webhooks.json."""
        async with aiohttp.ClientSession() as session:
            got = await self._settled(session)
        document = {
            f"{one.merchant}|{one.mode}": got.get(_path(one), []) for one in self._storefronts
        }
        (directory / WEBHOOKS_NAME).write_bytes(msgspec.json.encode(document))

    def close(self) -> None:
        """End the receiver."""
        self._open.close()

    async def _settled(self, session: aiohttp.ClientSession) -> dict[str, list[str]]:
        began_s = changed_s = time.monotonic()
        count = -1
        while True:
            async with session.get(f"http://127.0.0.1:{self._port}/_ids") as response:
                got: dict[str, list[str]] = await response.json(content_type=None)
            now_s = time.monotonic()
            if (found := sum(map(len, got.values()))) != count:
                count, changed_s = found, now_s
            if now_s - changed_s > SILENCE_S or now_s - began_s > RECEIVED_S_MAX:
                return got
            await asyncio.sleep(LOOK_S)


def _path(storefront: Storefront) -> str:
    return f"/{storefront.merchant}/{storefront.mode}"
