"""``python -m loadtest.deliveries --url … --key …``: how fast webhooks reach receivers that answer at once.

Endpoints are made and disabled, payments are taken, and the endpoints are enabled together: what is measured is
the dispatcher catching up, from the first enabling to the last arrival. Receivers are a process of its own. With
``--slow N`` that many endpoints more answer only after ten seconds: they must cost the others nothing.
"""

from __future__ import annotations

import json
import time

import aiohttp
import click
import uvloop

from loadtest.deliveries.storefront import Storefront, a_sink, arrived
from ops.number_options import IntegerRange

# A payment tells that it was taken in, and how it ended.
EVENTS_PER_PAYMENT = 2
# A sandbox merchant may have so many endpoints.
ENDPOINTS_MAX = 20
SLOW_MS = 10_000
ANSWER_S_MAX = 40.0


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
                told = await arrived(plain, port, paths, expected)
                seconds = time.monotonic() - begun_s
            finally:
                for endpoint in ids:
                    await shop.ask("DELETE", f"/v1/webhook_endpoints/{endpoint}")
    arrived_count = sum(told["counts"][path] for path in paths)
    return {
        "endpoints": endpoints,
        "slow_endpoints": slow,
        "events": expected,
        "deliveries": expected * endpoints,
        "repeated": arrived_count - expected * endpoints,
        "seconds": round(seconds, 2),
        "deliveries_per_s": round(expected * endpoints / seconds, 1),
    }


@click.command()
@click.option("--url", required=True, help="The gateway, such as http://127.0.0.1:8080.")
@click.option("--key", required=True, help="A merchant's test key.")
@click.option("--endpoints", type=IntegerRange(1, ENDPOINTS_MAX), default=20, show_default=True)
@click.option(
    "--slow",
    type=IntegerRange(0, ENDPOINTS_MAX),
    default=0,
    show_default=True,
    help="Endpoints more that answer after ten seconds.",
)
@click.option("--payments", type=IntegerRange(1, 100_000), default=500, show_default=True)
def main(url: str, key: str, endpoints: int, slow: int, payments: int) -> None:
    """Measure deliveries a second, and print them as one line of JSON."""
    if endpoints + slow > ENDPOINTS_MAX:
        raise click.UsageError(f"a merchant has at most {ENDPOINTS_MAX} endpoints")
    figures = uvloop.run(_run(url.rstrip("/"), key, endpoints, slow, payments))
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
