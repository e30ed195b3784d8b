"""A storefront that makes endpoints and takes payments, and the receiver's side of it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import aiohttp
import click

PAYMENTS_AT_ONCE = 32
LOOK_S = 0.1
# Without an arrival for so long it has failed.
SILENCE_S_MAX = 30.0


class RunFailed(click.ClickException):
    """It could not be measured: says why."""


@contextmanager
def a_sink() -> Iterator[int]:
    """A receiver in a process of its own; gives its port."""
    argv = [sys.executable, "-P", "-m", "loadtest.deliveries.sink"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield int(json.loads(process.stdout.readline())["port"])
        finally:
            process.send_signal(signal.SIGTERM)


class Storefront:
    """One merchant at one gateway."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """Return the answer's document. Raises RunFailed for a problem."""
        async with self._session.request(
            method, f"{self._url}{path}", json=body, headers=headers
        ) as response:
            document = await response.json(content_type=None)
            if response.status >= 400:
                raise RunFailed(f"{method} {path}: {response.status} {document.get('code')}")
            return document

    async def endpoint(self, url: str) -> str:
        """Make an endpoint that gets nothing yet; return its id."""
        made = await self.ask("POST", "/v1/webhook_endpoints", {"url": url})
        await self.ask("POST", f"/v1/webhook_endpoints/{made['id']}/disable")
        return str(made["id"])

    async def pay(self, count: int) -> None:
        """Take so many payments, each to its end."""
        left = iter(range(count))

        async def pay_in_turns() -> None:
            for _ in left:
                order = {"amount": 1_000, "currency": "USD", "payment_method": "tok_approve"}
                headers = {"Idempotency-Key": str(uuid4()), "Prefer": "wait=30"}
                await self.ask("POST", "/v1/payments", order, **headers)

        await asyncio.gather(*(pay_in_turns() for _ in range(PAYMENTS_AT_ONCE)))


async def told_by(session: aiohttp.ClientSession, port: int) -> Any:
    async with session.get(f"http://127.0.0.1:{port}/_told") as response:
        return await response.json(content_type=None)


async def arrived(
    session: aiohttp.ClientSession, port: int, paths: Sequence[str], expected: int
) -> Any:
    """Wait until each path got so many different webhooks. Raises RunFailed when nothing comes any more."""
    last_count, last_s = -1, time.monotonic()
    while True:
        told = await told_by(session, port)
        got = [told["distinct"].get(path, 0) for path in paths]
        if min(got) >= expected:
            return told
        if sum(got) != last_count:
            last_count, last_s = sum(got), time.monotonic()
        elif time.monotonic() - last_s > SILENCE_S_MAX:
            raise RunFailed(f"{sum(got)} of {expected * len(paths)} arrived, and no more")
        await asyncio.sleep(LOOK_S)
