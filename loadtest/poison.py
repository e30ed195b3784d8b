"""``python -m loadtest.poison``: what one message that nobody can take in costs the others.

Starts a stack of its own, and posts the same load once without and once with one poison message of each
kind in its middle: one that can't be decoded, one that a handler raises for, one that ends its hosts.
Each must become one dead letter, every other order must end, and the p99 of what storefronts wait for,
the answer to their POST, may grow by less than GROWTH_MAX. The time to settle is told beside it: hosts
that die take their partitions' settling with them until the next ones own them.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import click
import msgspec

from loadtest.bench.statistics import percentile
from ops.local.layout import StackHome
from ops.stack.client import start_stack, stop_stack
from ops.stack.config_file import read_config
from ops.stack.secret_files import SANDBOX_KEY_FILE, SANDBOX_MERCHANT_FILE
from ops.stack.settings import StackSettings
from payments.fingerprint import FINGERPRINT_BYTES, VERSION
from payments.identity import order_uuid
from payments.mode import Mode
from payments.partitioning import partition_index
from runtime.clock import SystemClock
from storage.envelope import accepted_at_ms
from storage.opening import queue_settings, read_pool
from storage.queue import RedisGatewayQueue
from storage.queue_ports import QueueEntry

# How much the others' p99 may grow through one poison message. In the short form so few orders make a
# p99 that the machine's own noise is larger: there it is told, and not judged.
GROWTH_MAX = 0.20
ORDERS_SHORT = 300
ORDERS_DEFAULT = 10_000
RATE_DEFAULT = 300.0
QUIET_S_MAX = 120.0
# A request that is not answered within this counts as lost: the load's verdict is red then.
ANSWER_S_MAX = 40.0

NONE, UNDECODABLE, RAISES, KILLS = "none", "undecodable", "handler_defect", "kills_host"
_MARKS: Mapping[str, str] = {RAISES: "poison: a handler raises", KILLS: "poison: ends its host"}
_ENVIRONMENT = {"TALLY_RAISE_ON": _MARKS[RAISES], "TALLY_CRASH_ON": _MARKS[KILLS]}
_REASONS: Mapping[str, str] = {UNDECODABLE: "payload_malformed", RAISES: RAISES, KILLS: KILLS}

_SETTLE = """
SELECT extract(epoch FROM ended.recorded_at - o.accepted_at)::float8 AS seconds
FROM payment_order AS o JOIN order_outcome AS ended USING (partition_index, order_no)
WHERE o.accepted_at >= $1
"""


@dataclass(slots=True)
class Run:
    """One load and what came of it. Latencies in seconds."""

    kind: str
    answered_s: list[float] = field(default_factory=list)
    settled_s: list[float] = field(default_factory=list)
    lost_count: int = 0
    letters: list[str] = field(default_factory=list)

    def document(self, base: Run) -> dict[str, Any]:
        """The figures in milliseconds, and how the p99 compares with the load without poison."""
        p99, base_p99 = _p99(self.answered_s), _p99(base.answered_s)
        return {
            "poison": self.kind,
            "orders": len(self.answered_s),
            "answer_p50_ms": percentile(sorted(self.answered_s), 50, unit=1_000),
            "answer_p99_ms": p99,
            "answer_p99_growth": round(p99 / base_p99 - 1, 3) if base_p99 else 0.0,
            "settle_p50_ms": percentile(sorted(self.settled_s), 50, unit=1_000),
            "settle_p99_ms": _p99(self.settled_s),
            "lost": self.lost_count,
            "dead_letters": self.letters,
        }

    def problems(self, order_count: int, growth: float | None) -> list[str]:
        """What is wrong with the run; ``growth`` is None where it is not judged."""
        expected = [] if self.kind == NONE else [_REASONS[self.kind]]
        found: list[str] = []
        if self.lost_count or len(self.answered_s) != order_count:
            found.append(f"{self.kind}: {self.lost_count} requests were not accepted")
        if len(self.settled_s) != order_count:
            found.append(f"{self.kind}: {len(self.settled_s)} of {order_count} orders have ended")
        if self.letters != expected:
            found.append(f"{self.kind}: dead letters {self.letters}, not {expected}")
        if growth is not None and growth >= GROWTH_MAX:
            found.append(f"{self.kind}: the p99 of answers grew by {growth:.0%}")
        return found


class Loaded:
    """A stack of its own, and one client."""

    def __init__(self, root: Path, url: str) -> None:
        home = StackHome(root)
        self._url = url
        self._clock = SystemClock()
        self._key = home.secret(SANDBOX_KEY_FILE)
        self._merchant_id = home.secret(SANDBOX_MERCHANT_FILE)
        self._config = read_config(root, {})

    async def run(self, kind: str, *, order_count: int, rate: float, seed: int) -> Run:
        """Post the load, the poison in its middle, and wait until everything else has ended."""
        source = random.Random(f"{seed} {kind}")  # noqa: S311
        run = Run(kind)
        started_at = (await self._fetch("SELECT clock_timestamp() AS now"))[0]["now"]
        letters_before = (await self._fetch("SELECT count(*) AS n FROM dead_letter"))[0]["n"]
        connector = aiohttp.TCPConnector(limit=500)
        timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
            begun_s = time.perf_counter()
            posts: list[asyncio.Task[None]] = []
            for number in range(order_count):
                await asyncio.sleep(max(0.0, begun_s + number / rate - time.perf_counter()))
                if number == order_count // 2 and kind != NONE:
                    await self._poison(http, kind, _uuid(source))
                posts.append(asyncio.create_task(self._post(http, run, _uuid(source))))
            await asyncio.gather(*posts)
        deadline_s = time.monotonic() + QUIET_S_MAX
        wanted_letters = letters_before + (kind != NONE)
        while True:
            rows = await self._fetch(_SETTLE, started_at)
            letters = await self._fetch("SELECT reason FROM dead_letter ORDER BY dead_letter_no")
            is_quiet = len(rows) >= order_count and len(letters) >= wanted_letters
            if is_quiet or time.monotonic() >= deadline_s:
                break
            await asyncio.sleep(0.5)
        run.settled_s = [row["seconds"] for row in rows]
        run.letters = [row["reason"] for row in letters[letters_before:]]
        return run

    async def _post(
        self, http: aiohttp.ClientSession, run: Run | None, key: UUID, **fields: str
    ) -> None:
        headers = {"Authorization": f"Bearer {self._key}", "Idempotency-Key": str(key)}
        body = {"amount": 1_999, "currency": "USD", "payment_method": "tok_approve", **fields}
        begun_s = time.perf_counter()
        try:
            async with http.post(f"{self._url}/v1/payments", json=body, headers=headers) as answer:
                await answer.read()
                is_accepted = answer.status == 202
        except (aiohttp.ClientError, TimeoutError):
            is_accepted = False
        if run is None:
            return
        if is_accepted:
            run.answered_s.append(time.perf_counter() - begun_s)
        else:
            run.lost_count += 1

    async def _poison(self, http: aiohttp.ClientSession, kind: str, key: UUID) -> None:
        if kind != UNDECODABLE:
            await self._post(http, None, key, description=_MARKS[kind])
            return
        order = order_uuid(self._merchant_id, Mode.TEST, key)
        print_of = bytes([VERSION]) + bytes(FINGERPRINT_BYTES - 1)
        now_ms = accepted_at_ms(self._clock.now())
        fields = (
            *(b"c", b"payment", b"m", b"1|test", b"k", str(order).encode(), b"f", print_of),
            *(b"v", b"1|0", b"t", b"%d" % now_ms, b"r", b"", b"p", b"\xc1"),
        )
        queue = RedisGatewayQueue(queue_settings(self._config))
        try:
            index = partition_index(order, self._config.deployment.partition_count)
            await queue.append([QueueEntry(index, order, print_of, now_ms, fields)])
        finally:
            await queue.close()

    async def _fetch(self, sql: str, *arguments: object) -> Sequence[Mapping[str, Any]]:
        pool = read_pool(
            self._config,
            self._config.postgres.shards[0],
            "gateway",
            application_name="poison",
            session_count_max=1,
        )
        try:
            return [dict(row) for row in await pool.fetch(sql, *arguments)]
        finally:
            await pool.close()


def _uuid(source: random.Random) -> UUID:
    return UUID(int=source.getrandbits(128), version=4)


def _p99(values_s: list[float]) -> float:
    return percentile(sorted(values_s), 99, unit=1_000) or 0.0


@click.command()
@click.option("--orders", "order_count", type=click.IntRange(100), default=ORDERS_DEFAULT)
@click.option("--rate", type=click.FloatRange(1), default=RATE_DEFAULT, help="Orders a second.")
@click.option("--seed", type=int, default=7, show_default=True)
@click.option("--short", "is_short", is_flag=True, help="Few orders; growth is told, not judged.")
@click.option("--json", "is_json", is_flag=True)
def main(order_count: int, rate: float, seed: int, *, is_short: bool, is_json: bool) -> None:
    """Measure the others' p99 with and without one poison message of each kind."""
    count = ORDERS_SHORT if is_short else order_count
    # Short, because Unix sockets lie below it.
    root = Path(tempfile.mkdtemp(prefix="tally-poison-"))
    try:
        settings = StackSettings(
            root=root, port_base=0, is_ray_used=False, passed_environment=_ENVIRONMENT
        )
        state = start_stack(settings, lambda text: click.echo(text, err=True))
        if state.addresses is None:
            raise click.ClickException("the stack has not told its addresses")
        loaded = Loaded(root, state.addresses.gateway_url)
        runs = asyncio.run(_runs(loaded, order_count=count, rate=rate, seed=seed))
    finally:
        stop_stack(root, lambda text: click.echo(text, err=True))
        shutil.rmtree(root, ignore_errors=True)
    base = runs[0]
    documents = [run.document(base) for run in runs]
    problems = [
        problem
        for run, document in zip(runs, documents, strict=True)
        for problem in run.problems(count, None if is_short else document["answer_p99_growth"])
    ]
    if is_json:
        result = {"seed": seed, "rate": rate, "runs": documents, "problems": problems}
        click.echo(msgspec.json.encode(result).decode())
    else:
        for document in documents:
            click.echo("  ".join(f"{name}={value}" for name, value in document.items()))
        for problem in problems:
            click.echo(f"WRONG {problem}")
    sys.exit(1 if problems else 0)


async def _runs(loaded: Loaded, *, order_count: int, rate: float, seed: int) -> list[Run]:
    # The first load of a fresh stack is slower than all others: it is measured for nobody.
    await loaded.run(NONE, order_count=min(order_count, 1_000), rate=rate, seed=seed + 1)
    return [
        await loaded.run(kind, order_count=order_count, rate=rate, seed=seed)
        for kind in (NONE, UNDECODABLE, RAISES, KILLS)
    ]


if __name__ == "__main__":
    main()
