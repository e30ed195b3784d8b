"""``python -m loadtest.poison``: what one message that nobody can take in costs the others.

Starts a stack of its own, and posts rounds of the same load: once without poison, once with one message of
each kind in its middle: one that can't be decoded, one that a handler raises for, one that ends its hosts.
Each must become one dead letter, every other order must end and be charged once, and the p99 of what
storefronts wait for, the answer to their POST, may grow by less than GROWTH_MAX: over all good orders of a
load, from the moment each was due, against the load without poison of the same round, the median of the
rounds. What is told beside it is not judged: the same p99 of the orders posted between the poison and its
letter, and the time to settle, since hosts that die take their partitions' settling with them.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import click
import msgspec
import uvloop

from loadtest.bench.verifying import verify
from loadtest.idempotency.psp_record import PspRecord
from loadtest.poison_figures import (
    KILLS,
    NONE,
    POISONS,
    RAISES,
    UNDECODABLE,
    Answered,
    Round,
    Run,
    problems_of,
    summary,
)
from loadtest.rate import ACCEPTED
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

# In the short form so few orders make a p99 that the machine's own noise is larger: it is told, not judged.
ORDERS_SHORT = 300
ORDERS_DEFAULT = 10_000
RATE_DEFAULT = 300.0
ROUNDS_DEFAULT = 3
QUIET_S_MAX = 120.0
# A request that is not answered within this counts as lost: the load's verdict is red then.
ANSWER_S_MAX = 40.0
# Between two loads: hosts that were started again have shared the partitions anew by then.
REST_S = 4.0

_MARKS: Mapping[str, str] = {RAISES: "poison: a handler raises", KILLS: "poison: ends its host"}
_ENVIRONMENT = {"TALLY_RAISE_ON": _MARKS[RAISES], "TALLY_CRASH_ON": _MARKS[KILLS]}

_SETTLED = """
SELECT extract(epoch FROM ended.recorded_at - o.accepted_at)::float8 AS seconds
FROM payment_order AS o JOIN order_outcome AS ended USING (partition_index, order_no)
WHERE o.accepted_at >= $1
"""


class Loaded:
    """A stack of its own, and one client."""

    def __init__(self, root: Path, url: str) -> None:
        home = StackHome(root)
        self._url = url
        self._clock = SystemClock()
        self._key = home.secret(SANDBOX_KEY_FILE)
        self._merchant_id = home.secret(SANDBOX_MERCHANT_FILE)
        self._config = read_config(root, {})
        self._records = [PspRecord(psp.url) for psp in self._config.psps if psp.url]

    async def run(self, kind: str, *, order_count: int, rate: float, seed: str) -> Run:
        """Post the load, the poison in its middle, and wait until everything else has ended."""
        source = random.Random(f"{seed} {kind}")  # noqa: S311
        run = Run(kind)
        keys = [_uuid(source) for _ in range(order_count)]
        poison = _uuid(source)
        letters_before = len(await self._letters())
        started_at = self._clock.now()
        await self._load(run, keys, poison, rate)
        deadline_s = time.monotonic() + QUIET_S_MAX
        while True:
            rows = await self._fetch(_SETTLED, started_at)
            letters = (await self._letters())[letters_before:]
            is_quiet = len(rows) >= order_count and len(letters) >= (kind != NONE)
            if is_quiet or time.monotonic() >= deadline_s:
                break
            await asyncio.sleep(0.5)
        # Whatever a letter's second copy would need has had the time to come.
        await asyncio.sleep(REST_S)
        run.settled_s = [row["seconds"] for row in await self._fetch(_SETTLED, started_at)]
        letters = (await self._letters())[letters_before:]
        run.letters = [row["reason"] for row in letters]
        if letters:
            run.letter_at_s = (letters[0]["created_at"] - started_at).total_seconds()
        run.charged_wrongly_count = await self._charged_wrongly(keys, poison)
        return run

    async def _load(self, run: Run, keys: Sequence[UUID], poison: UUID, rate: float) -> None:
        connector = aiohttp.TCPConnector(limit=500)
        timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
            begun_s = time.perf_counter()
            posts: list[asyncio.Task[None]] = []
            for number, key in enumerate(keys):
                due_s = number / rate
                await asyncio.sleep(max(0.0, begun_s + due_s - time.perf_counter()))
                if number == len(keys) // 2 and run.kind != NONE:
                    run.poisoned_at_s = due_s
                    posts.append(asyncio.create_task(self._poison(http, run.kind, poison)))
                posts.append(asyncio.create_task(self._good(http, run, key, begun_s, due_s)))
            await asyncio.gather(*posts)

    async def _good(
        self, http: aiohttp.ClientSession, run: Run, key: UUID, begun_s: float, due_s: float
    ) -> None:
        # From the moment it was due: a client that is held up holds up its orders, too.
        if await self._post(http, key):
            run.answered.append(Answered(due_s, time.perf_counter() - begun_s - due_s))
        else:
            run.lost_count += 1

    async def _post(self, http: aiohttp.ClientSession, key: UUID, **fields: str) -> bool:
        headers = {"Authorization": f"Bearer {self._key}", "Idempotency-Key": str(key)}
        body = {"amount": 1_999, "currency": "USD", "payment_method": "tok_approve", **fields}
        try:
            async with http.post(f"{self._url}/v1/payments", json=body, headers=headers) as answer:
                await answer.read()
                return answer.status in ACCEPTED
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _poison(self, http: aiohttp.ClientSession, kind: str, key: UUID) -> None:
        if kind != UNDECODABLE:
            await self._post(http, key, description=_MARKS[kind])
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

    async def _charged_wrongly(self, keys: Sequence[UUID], poison: UUID) -> int:
        names = [str(key) for key in (*keys, poison)]
        records = [await record.captured_counts(names) for record in self._records]
        counts: list[int] = [sum(of_key) for of_key in zip(*records, strict=True)]
        return sum(count != 1 for count in counts[:-1]) + (counts[-1] != 0)

    async def _letters(self) -> Sequence[Mapping[str, Any]]:
        return await self._fetch(
            "SELECT reason, created_at FROM dead_letter ORDER BY dead_letter_no"
        )

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


@click.command()
@click.option("--orders", "order_count", type=click.IntRange(100), default=ORDERS_DEFAULT)
@click.option("--rate", type=click.FloatRange(1), default=RATE_DEFAULT, help="Orders a second.")
@click.option("--rounds", "round_count", type=click.IntRange(1), default=ROUNDS_DEFAULT)
@click.option("--seed", type=int, default=7, show_default=True)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(POISONS),
    multiple=True,
    default=POISONS,
    help="This kind alone; may be repeated.",
)
@click.option(
    "--short", "is_short", is_flag=True, help="Few orders, one round; growth is told, not judged."
)
@click.option("--json", "is_json", is_flag=True)
def main(
    order_count: int,
    rate: float,
    round_count: int,
    seed: int,
    kinds: tuple[str, ...],
    *,
    is_short: bool,
    is_json: bool,
) -> None:
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
        rounds = uvloop.run(
            _rounds(
                loaded,
                1 if is_short else round_count,
                (NONE, *kinds),
                order_count=count,
                rate=rate,
                seed=seed,
            )
        )
        verdict = asyncio.run(verify(root))
    finally:
        stop_stack(root, lambda text: click.echo(text, err=True))
        shutil.rmtree(root, ignore_errors=True)
    problems = problems_of(rounds, count, is_judged=not is_short)
    if verdict["ok"] is not True:
        problems.append(f"the books are not right: {verdict}")
    lines = summary(rounds)
    if is_json:
        runs = [run.document(runs[NONE]) for runs in rounds for run in runs.values()]
        result = {"seed": seed, "rate": rate, "summary": lines, "runs": runs, "problems": problems}
        click.echo(msgspec.json.encode(result).decode())
    else:
        click.echo(f"rate={rate:g}/s seed={seed} books_ok={verdict['ok']}")
        for line in lines:
            click.echo("  ".join(f"{name}={value}" for name, value in line.items()))
        for problem in problems:
            click.echo(f"WRONG {problem}")
    sys.exit(1 if problems else 0)


async def _rounds(
    loaded: Loaded,
    round_count: int,
    kinds: Sequence[str],
    *,
    order_count: int,
    rate: float,
    seed: int,
) -> list[Round]:
    # The first load of a fresh stack is slower than all others: it is measured for nobody.
    await loaded.run(NONE, order_count=min(order_count, 1_000), rate=rate, seed=f"{seed} first")
    rounds: list[Round] = []
    for number in range(round_count):
        # Another kind comes first each time, so that none always follows the hosts' deaths.
        turn = number % len(kinds)
        runs: dict[str, Run] = {}
        for kind in (*kinds[turn:], *kinds[:turn]):
            runs[kind] = await loaded.run(
                kind, order_count=order_count, rate=rate, seed=f"{seed} {number}"
            )
            click.echo(f"round {number + 1}: {kind} is over", err=True)
        rounds.append({kind: runs[kind] for kind in kinds})
    return rounds


if __name__ == "__main__":
    main()
