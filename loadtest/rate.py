"""``python -m loadtest.rate --url … --key …``: a first, rough rate and latency over HTTP.

``--concurrency 1`` measures the idle latency: one payment at a time, each held until it has settled.
Every request is a new payment; answers other than 201 and 202 are counted and named.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from uuid import uuid4

import aiohttp
import click
import msgspec
import uvloop

# Longer than the longest Prefer: wait, so that a slow answer is measured and not cut off.
ANSWER_S_MAX = 40.0


@dataclass(slots=True)
class Measured:
    """Latencies in seconds of answers by HTTP status; 0 counts those that never came."""

    latencies_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    def summary(self) -> dict[str, object]:
        """The figures as printed: rates in answers a second, latencies in milliseconds."""
        accepted_count = self.statuses[201] + self.statuses[202]
        cuts = statistics.quantiles(self.latencies_s, n=100) if len(self.latencies_s) > 1 else []
        return {
            "rate_per_s": round(accepted_count / self.seconds, 1),
            "p50_ms": round(1000 * cuts[49], 2) if cuts else None,
            "p99_ms": round(1000 * cuts[98], 2) if cuts else None,
            "answers": {str(status): count for status, count in sorted(self.statuses.items())},
            "seconds": round(self.seconds, 2),
        }


async def measure(
    url: str, api_key: str, *, seconds: float, concurrency: int, wait_s: int
) -> Measured:
    """Post new payments from ``concurrency`` connections for that long."""
    measured = Measured()
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
    if wait_s:
        headers["Prefer"] = f"wait={wait_s}"
    body = msgspec.json.encode({"amount": 1999, "currency": "USD", "payment_method": "tok_approve"})
    connector = aiohttp.TCPConnector(limit=concurrency)
    timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        started_s = time.monotonic()
        ends_s = started_s + seconds

        async def post_until_end() -> None:
            while time.monotonic() < ends_s:
                asked_s = time.monotonic()
                try:
                    async with session.post(
                        url + "/v1/payments",
                        data=body,
                        headers={**headers, "Idempotency-Key": str(uuid4())},
                    ) as answer:
                        await answer.read()
                        status = answer.status
                except (aiohttp.ClientError, TimeoutError):
                    status = 0
                measured.latencies_s.append(time.monotonic() - asked_s)
                measured.statuses[status] += 1

        await asyncio.gather(*(post_until_end() for _ in range(concurrency)))
        measured.seconds = time.monotonic() - started_s
    return measured


@click.command()
@click.option("--url", required=True, help="The gateway, such as http://127.0.0.1:7400.")
@click.option("--key", "api_key", required=True, help="A test API key.")
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=10.0, show_default=True)
@click.option("--concurrency", type=click.IntRange(1, 4096), default=64, show_default=True)
@click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(0, 30),
    default=30,
    show_default=True,
    help="Hold each answer until the payment has settled; 0 measures acceptance alone.",
)
def main(url: str, api_key: str, seconds: float, concurrency: int, wait_s: int) -> None:
    """Measure, and print one line of JSON."""
    measured = uvloop.run(
        measure(url, api_key, seconds=seconds, concurrency=concurrency, wait_s=wait_s)
    )
    sys.stdout.write(msgspec.json.encode(measured.summary()).decode() + "\n")


if __name__ == "__main__":
    main()
