"""What a simulated provider holds by its own record: the one witness beside the API."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import aiohttp
import msgspec

READ_S_MAX = 20.0


class _Line(msgspec.Struct, frozen=True):
    """The members of a record's line that are looked at."""

    n: int
    merchant: str
    order_key: str | None
    status: str


_decoder = msgspec.json.Decoder(_Line)


class PspRecord:
    """One simulator's ``/_oracle/charges``. What it has told once is not asked for again."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._after = 0
        self._captured: dict[str, Counter[str]] = {}
        self._reading = asyncio.Lock()

    async def captured_count(self, order_key: str) -> int:
        """Return how many charges were captured under a merchant's key.

        Where several merchants used the same key, the highest count of one of them.
        Raises aiohttp.ClientError or TimeoutError when the record can't be read.
        """
        return (await self.captured_counts([order_key]))[0]

    async def captured_counts(self, order_keys: Sequence[str]) -> Sequence[int]:
        """Return the same of several keys, of one reading of the record."""
        async with self._reading:
            await self._read_on()
        return [max(self._captured.get(key, Counter()).values(), default=0) for key in order_keys]

    async def _read_on(self) -> None:
        timeout = aiohttp.ClientTimeout(total=READ_S_MAX)
        async with (
            aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session,
            session.get(f"{self._url}/_oracle/charges?after={self._after}") as answer,
        ):
            lines = (await answer.read()).splitlines()
        for line in map(_decoder.decode, lines):
            self._after = max(self._after, line.n)
            if line.status == "captured" and line.order_key is not None:
                self._captured.setdefault(line.order_key, Counter())[line.merchant] += 1
