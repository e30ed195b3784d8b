"""``python -m loadtest.deliveries --url … --key …``: how fast webhooks reach receivers that answer at once.

Endpoints are made and disabled, payments are taken, and the endpoints are enabled together: what is measured is
the dispatcher catching up, from the first enabling to the last arrival. Receivers are a process of its own. With
``--slow N`` that many endpoints more answer only after ten seconds: they must cost the others nothing.
"""

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
import uvloop

# A payment tells that it was taken in, and how it ended.
EVENTS_PER_PAYMENT = 2
# A sandbox merchant may have so many endpoints.
ENDPOINTS_MAX = 20
SLOW_MS = 10_000
PAYMENTS_AT_ONCE = 32
ANSWER_S_MAX = 40.0
LOOK_S = 0.1
# Without an arrival for so long it has failed.
SILENCE_S_MAX = 30.0


class RunFailed(click.ClickException):
    """It could not be measured: says why."""


@contextmanager
def a_sink() -> Iterator[int]:
    """A receiver in a process of its own; gives its port."""
    argv = [sys.executable, "-P", "-m", "loadtest.deliveries.sink"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
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


async def _told(session: aiohttp.ClientSession, port: int) -> Any:
    async with session.get(f"http://127.0.0.1:{port}/_told") as response:
        return await response.json(content_type=None)


async def _arrived(
    session: aiohttp.ClientSession, port: int, paths: Sequence[str], expected: int
) -> Any:
    """Wait until each path got so many different webhooks. Raises RunFailed when nothing comes any more."""
    last_count, last_s = -1, time.monotonic()
    while True:
        told = await _told(session, port)
        got = [told["distinct"].get(path, 0) for path in paths]
        if min(got) >= expected:
            return told
        if sum(got) != last_count:
            last_count, last_s = sum(got), time.monotonic()
        elif time.monotonic() - last_s > SILENCE_S_MAX:
            raise RunFailed(f"{sum(got)} of {expected * len(paths)} arrived, and no more")
        await asyncio.sleep(LOOK_S)


async def _run(url: str, key: str, endpoints: int, slow: int, payments: int) -> dict[str, object]:
    timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
    with a_sink() as port:
        async with (
            aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {key}"}, timeout=timeout
            ) as session,
            aiohttp.ClientSession(timeout=timeout) as plain,
        ):
            shop = Storefront(session, url)
            paths = [f"/endpoint/{index}" for index in range(endpoints)]
            slow_ones = [f"/slow/{index}?wait_ms={SLOW_MS}" for index in range(slow)]
            ids = [
                await shop.endpoint(f"http://127.0.0.1:{port}{path}")
                for path in [*slow_ones, *paths]
            ]
            try:
                await shop.pay(payments)
                begun_s = time.monotonic()
                for endpoint in ids:
                    await shop.ask("POST", f"/v1/webhook_endpoints/{endpoint}/enable")
                expected = payments * EVENTS_PER_PAYMENT
                told = await _arrived(plain, port, paths, expected)
                seconds = time.monotonic() - begun_s
            finally:
                for endpoint in ids:
                    await shop.ask("DELETE", f"/v1/webhook_endpoints/{endpoint}")
    arrived = sum(told["counts"][path] for path in paths)
    return {
        "endpoints": endpoints,
        "slow_endpoints": slow,
        "events": expected,
        "deliveries": expected * endpoints,
        "repeated": arrived - expected * endpoints,
        "seconds": round(seconds, 2),
        "deliveries_per_s": round(expected * endpoints / seconds, 1),
    }


@click.command()
@click.option("--url", required=True, help="The gateway, such as http://127.0.0.1:8080.")
@click.option("--key", required=True, help="A merchant's test key.")
@click.option("--endpoints", type=click.IntRange(1, ENDPOINTS_MAX), default=20, show_default=True)
@click.option(
    "--slow",
    type=click.IntRange(0, ENDPOINTS_MAX),
    default=0,
    show_default=True,
    help="Endpoints more that answer after ten seconds.",
)
@click.option("--payments", type=click.IntRange(1, 100_000), default=500, show_default=True)
def main(url: str, key: str, endpoints: int, slow: int, payments: int) -> None:
    """Measure deliveries a second, and print them as one line of JSON."""
    if endpoints + slow > ENDPOINTS_MAX:
        raise click.UsageError(f"a merchant has at most {ENDPOINTS_MAX} endpoints")
    figures = uvloop.run(_run(url.rstrip("/"), key, endpoints, slow, payments))
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
