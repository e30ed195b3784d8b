"""A whole run: a stack whose ways lead through the proxy, storefronts that pay, faults, and the judgement."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from loadtest.bench.verifying import verify
from loadtest.chaos.cells import Cell, cells_of
from loadtest.chaos.plan import plan
from loadtest.chaos.quiet import wait_quiet
from loadtest.chaos.recording import FaultLog, coverage
from loadtest.chaos.running import Runner
from loadtest.chaos.sampling import EVERY_S, Sampler
from loadtest.chaos.stack import ChaosShape, ChaosStack
from loadtest.client.job import Met, cart_name, met_path, read_lines
from loadtest.client.judging import Captured, violations
from loadtest.client.processes import KINDS, Storefronts
from ops.verify.oracle import OracleReader, open_http
from tallystick.operations import KeyChoice
from tallystick.payments import PATH

Progress = Callable[[str], None]

PATTERNS = (
    "kill/gateway/*",
    "freeze/gateway/*",
    "network/client->gateway/*",
    # Orders that can't be proven on a copy: 503 with may_run.
    "freeze/redis_replica/*",
    "kill/redis_primary/*",
    "network/gateway->redis/reset",
    "network/gateway->postgres/stall",
)
"""The cells that a storefront sees something of: kills, resets, cut answers, 503s."""

SHORT_PATTERNS = (
    "kill/gateway/under_load",
    "network/client->gateway/reset",
    "network/client->gateway/cut",
    "freeze/redis_replica/under_load",
    "network/gateway->redis/reset",
)
"""One of each kind, and none that waits for a step of a certain order."""

# One round of all cells; rounds follow each other while carts are left.
ROUND_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run."""

    payment_count: int
    rate_per_s: float
    seed: int
    is_short: bool
    """One round of a few faults, in place of rounds of all while carts are left."""
    directory: Path


def cells(patterns: Sequence[str] = PATTERNS) -> list[Cell]:
    """What is done to the stack."""
    mixes = [cell for kind in ("kill", "freeze", "network") for cell in cells_of(kind)]
    return [cell for cell in mixes if any(fnmatchcase(cell.name, pattern) for pattern in patterns)]


async def run(options: Options, progress: Progress) -> dict[str, Any]:
    """Return the document of the run. Raises ChaosFailed, LocalFault."""
    began_s = time.monotonic()

    def tell(text: str) -> None:
        progress(f"{time.monotonic() - began_s:6.1f} s  {text}")

    tell("a stack of its own, every way through the proxy")
    stack = await ChaosStack.start(ChaosShape(), lambda _: None)
    log = FaultLog(options.directory)
    carts = list(range(options.payment_count))
    shops = Storefronts(
        url=stack.base_url,
        api_key=stack.api_key,
        directory=options.directory,
        carts=carts,
        rate_per_s=options.rate_per_s,
    )
    try:
        tell(f"{options.payment_count} carts, {options.rate_per_s:g} a second")
        await _pay_under_faults(stack, shops, log, options, tell)
        tell("all is paid; waiting until nothing is under way")
        sampler = Sampler(stack, EVERY_S)
        left = await wait_quiet(stack, sampler, tell)
        await sampler.stop()
        captured = await _captured(stack)
        books = await verify(stack.root)
    finally:
        log.close()
        tell("stopping the stack")
        await stack.close(lambda _: None)
    wrong = violations(carts, shops.paid(), _kept(shops.store_path), captured)
    if left is not None:
        wrong.append(f"after all that, {left}")
    if books["ok"] is not True:
        wrong.append(f"the books are not right: {books}")
    return {
        "payments": options.payment_count,
        "seed": options.seed,
        "rate_per_s": options.rate_per_s,
        "seconds": round(time.monotonic() - began_s, 1),
        "charges": len(captured),
        "processes_killed": shops.kill_count,
        "faults": {
            name: cell.hits for name, cell in coverage(cells(), log.lines).items() if cell.hits
        },
        "met": _met(options.directory),
        "books": books,
        "violations": wrong,
    }


async def _pay_under_faults(
    stack: ChaosStack, shops: Storefronts, log: FaultLog, options: Options, tell: Progress
) -> None:
    """Return when all carts are paid, and nothing is broken any more."""
    draw = random.Random(f"client {options.seed}")  # noqa: S311  # whom to kill, not a secret
    paying = asyncio.create_task(shops.run())
    killing = asyncio.create_task(shops.kill_some(draw))
    breaking = asyncio.create_task(_break(stack, log, options, paying, tell))
    try:
        await asyncio.wait({paying, breaking}, return_when=asyncio.FIRST_EXCEPTION)
        if paying.done():
            paying.result()
        await breaking
        await stack.proxy.heal()
        await paying
    finally:
        for task in (killing, breaking, paying):
            task.cancel()
        await asyncio.gather(killing, breaking, paying, return_exceptions=True)


async def _break(
    stack: ChaosStack, log: FaultLog, options: Options, paying: asyncio.Task[None], tell: Progress
) -> None:
    """Make every cell once; in the long form go on while carts are left."""
    broken = cells(SHORT_PATTERNS if options.is_short else PATTERNS)
    round_no = 0
    while round_no == 0 or not (paying.done() or options.is_short):
        planned = plan(broken, seed=options.seed + round_no, seconds=0.0, overlap_max=1)
        runner = Runner(stack, log, tell)
        await runner.run(planned, ROUND_SECONDS)
        round_no += 1


async def _captured(stack: ChaosStack) -> list[Captured]:
    """Every charge that took money, of all providers, to the end of their records."""
    found: list[Captured] = []
    async with open_http() as session:
        for port in stack.routing.psp_ports.values():
            async for rows in OracleReader(session, f"http://127.0.0.1:{port}").rows():
                found += [
                    Captured(row.order_key or "", row.captured) for row in rows if row.captured > 0
                ]
    return found


def _kept(path: Path) -> Mapping[int, str]:
    """The key of each cart, from the store's file itself."""
    with closing(sqlite3.connect(path)) as connection:
        rows = dict(connection.execute("SELECT name, key FROM idempotency_key"))
    prefix = (KeyChoice(name=cart_name(0)).kept_as(PATH) or "").removesuffix("0")
    return {int(name.removeprefix(prefix)): key for name, key in rows.items()}


def _met(directory: Path) -> dict[str, dict[str, int]]:
    """How often each error was met: by attempts that were made again, and by calls that gave up."""
    paths = [met_path(directory, f"storefront-{place}") for place in range(len(KINDS))]
    lines = [line for line in read_lines(paths, Met) if isinstance(line, Met)]
    return {
        "attempts": dict(sorted(Counter(line.what for line in lines if not line.is_final).items())),
        "calls": dict(sorted(Counter(line.what for line in lines if line.is_final).items())),
    }
