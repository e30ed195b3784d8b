"""``python -m loadtest.rate --url … --key …``: a first, rough rate and latency over HTTP.

``--concurrency 1`` measures the idle latency: one payment at a time, each held until it has settled.
Every request is a new payment; answers other than 201 and 202 are counted and named. Before the first,
the gateway is asked for something harmless, so that a wrong address or key is told and not measured.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from uuid import uuid4

import aiohttp
import click
import msgspec
import uvloop

from loadtest.bench.statistics import percentile
from ops.number_options import IntegerRange

# Longer than the longest Prefer: wait, so that a slow answer is measured and not cut off.
ANSWER_S_MAX = 40.0
# The first request reads one page of one payment; a gateway that takes longer is not worth measuring.
PROBE_S_MAX = 10.0
# What an order that was taken is answered: settled, or queued.
ACCEPTED = (201, 202)
# The name, beside HTTP statuses, of answers that never came.
NO_ANSWER = "none"


@dataclass(slots=True)
class Measured:
    """Latencies in seconds of orders that were accepted, and all answers counted by their name."""

    latencies_s: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def note(self, status: int | None, latency_s: float) -> None:
        """Count one answer by its HTTP status; None is one that never came."""
        self.answers[NO_ANSWER if status is None else str(status)] += 1
        if status in ACCEPTED:
            self.latencies_s.append(latency_s)

    def summary(self) -> dict[str, object]:
        """The figures as printed: rates in answers a second, latencies in milliseconds."""
        ordered_s = sorted(self.latencies_s)
        return {
            "rate_per_s": round(len(ordered_s) / self.seconds, 1),
            "p50_ms": percentile(ordered_s, 50, unit=1_000),
            "p99_ms": percentile(ordered_s, 99, unit=1_000),
            "answers": dict(sorted(self.answers.items())),
            "seconds": round(self.seconds, 2),
        }


async def probe(url: str, api_key: str) -> None:
    """Read with the key, and change nothing. Raises click.ClickException, which says what is wrong."""
    timeout = aiohttp.ClientTimeout(total=PROBE_S_MAX)
    headers = {"Authorization": f"Bearer {api_key}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url + "/v1/payments?limit=1", headers=headers) as answer,
        ):
            status = answer.status
    except TimeoutError:
        raise click.ClickException(f"{url} does not answer within {PROBE_S_MAX:.0f} s.") from None
    except (aiohttp.ClientError, ValueError) as fault:
        reason = str(fault) or type(fault).__name__
        raise click.ClickException(f"{url} can't be asked: {reason}. Does the stack run?") from None
    if status == 401:
        raise click.ClickException(f"{url} does not know this API key.")
    if status != 200:
        raise click.ClickException(f"{url} answers {status} to a read: is it the gateway?")


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
                        status: int | None = answer.status
                except (aiohttp.ClientError, TimeoutError):
                    status = None
                measured.note(status, time.monotonic() - asked_s)

        await asyncio.gather(*(post_until_end() for _ in range(concurrency)))
        measured.seconds = time.monotonic() - started_s
    return measured


@click.command()
@click.option("--url", required=True, help="The gateway, such as http://127.0.0.1:7400.")
@click.option("--key", "api_key", required=True, help="A test API key.")
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=10.0, show_default=True)
@click.option("--concurrency", type=IntegerRange(1, 4096), default=64, show_default=True)
@click.option(
    "--wait",
    "wait_s",
    type=IntegerRange(0, 30),
    default=30,
    show_default=True,
    help="Hold each answer until the payment has settled; 0 measures acceptance alone.",
)
def main(url: str, api_key: str, seconds: float, concurrency: int, wait_s: int) -> None:
    """Measure, and print one line of JSON; exit 1 when no order was accepted."""
    url = url.rstrip("/")
    uvloop.run(probe(url, api_key))
    measured = uvloop.run(
        measure(url, api_key, seconds=seconds, concurrency=concurrency, wait_s=wait_s)
    )
    sys.stdout.write(msgspec.json.encode(measured.summary()).decode() + "\n")
    if not measured.latencies_s:
        sys.exit(1)


if __name__ == "__main__":
    main()
