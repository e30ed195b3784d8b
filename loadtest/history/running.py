"""Running a load: arrivals that wait for nobody, then the final reads of every key."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import msgspec

from loadtest.bad_input.effects import Inspector
from loadtest.checker.records import ClientKey
from loadtest.history.client import AT_REST, Clients
from loadtest.history.finishing import finish_living
from loadtest.history.living import Living
from loadtest.history.orders import BUYER_EMAIL, CARD_NUMBER, SentOrder
from loadtest.history.plan import LoadPlan
from loadtest.history.recorder import HISTORY_NAME, Recorder
from loadtest.history.sessions import Sessions
from loadtest.history.snapshots import take_snapshots
from runtime.clock import SystemClock
from runtime.config import Config

LOAD_NAME = "load.json"
FINAL_NAME = "final.json"

# Reads at one time: they come after quiescence, and are in nobody's way.
FINAL_READERS = 16
FINAL_PAUSE_S = 0.5
# Keys of which the POST is repeated in the end: each has to get its frozen answer again.
FINAL_REPEATS_MAX = 5_000

_NOT_FOUND = 404
_UNIX_BEGAN = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Load:
    """A load that has run: what the final reads need to know of it."""

    plan: LoadPlan
    directory: Path
    sent: dict[ClientKey, SentOrder] = field(default_factory=dict)
    living: Living | None = None
    op_count: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """``actions``, and ``crowded_out``: arrivals for which there was no room."""


async def run_load(
    plan: LoadPlan, directory: Path, stop: asyncio.Event, config: Config | None = None
) -> Load:
    """Run a load until its time is over or ``stop`` is set; return once every operation has ended.

    Writes history.jsonl and load.json, and snapshots.jsonl where ``config`` leads to the books.
    """
    load = Load(plan, directory)
    async with _http(plan) as session:
        document = {
            "unix_less_monotonic_ns": _unix_less_monotonic_ns(),
            "documented": await _documented(session, plan),
            "storefronts": [[each.merchant, each.mode] for each in plan.storefronts],
            # The keys are those of storefronts that were made for this load.
            "canaries": [
                *(CARD_NUMBER, CARD_NUMBER.replace(" ", "")),
                *(each.api_key for each in plan.storefronts),
            ],
            "personal": [BUYER_EMAIL],
            "plan_seed": plan.seed,
        }
        (directory / LOAD_NAME).write_bytes(msgspec.json.encode(document))
        snapshots = None
        if config is not None and plan.snapshot_every_s > 0:
            looking = take_snapshots(config, directory, plan.snapshot_every_s)
            snapshots = asyncio.create_task(looking)
        try:
            with Recorder(directory / HISTORY_NAME) as recorder:
                await _arrivals(load, session, recorder, stop)
                load.op_count = recorder.op_count
        finally:
            if snapshots is not None:
                snapshots.cancel()
                await asyncio.wait({snapshots})
    return load


async def _arrivals(
    load: Load, session: aiohttp.ClientSession, recorder: Recorder, stop: asyncio.Event
) -> None:
    plan = load.plan
    arriving = random.Random(f"arrivals {plan.seed}")  # noqa: S311  # a load, not a secret
    draw = random.Random(f"actions {plan.seed}")  # noqa: S311
    clients = Clients(session, plan.gateway_urls, recorder, draw)
    sessions = Sessions(plan, clients, draw, stop)
    load.sent, load.living = sessions.sent, sessions.living
    running: set[asyncio.Task[None]] = set()
    until_s = time.monotonic() + plan.seconds
    next_s = time.monotonic()
    while not stop.is_set() and next_s < until_s:
        # By the clock, not by the answers: who is late catches up at once.
        await asyncio.sleep(max(0.0, next_s - time.monotonic()))
        next_s += arriving.expovariate(plan.rate_per_s)
        if len(running) >= plan.in_flight_max:
            load.counts["crowded_out"] += 1
            continue
        load.counts["actions"] += 1
        task = asyncio.create_task(sessions.act())
        running.add(task)
        task.add_done_callback(running.discard)
    stop.set()
    while running:
        done, _ = await asyncio.wait(running)
        for task in done:
            task.result()


async def final_reads(load: Load, seconds_max: float = 60.0) -> bool:
    """Read every key to its end, and repeat POSTs, after quiescence; return whether that was complete.

    Writes final.json, and adds to history.jsonl. A key is read when the gateway has told how its
    order ended, or that there is none.
    """
    plan = load.plan
    until_s = time.monotonic() + seconds_max
    todo = list(load.sent.values())
    unread: list[str] = []
    ended: list[SentOrder] = []
    async with _http(plan) as session:
        with Recorder(load.directory / HISTORY_NAME, op_count=load.op_count) as recorder:
            draw = random.Random(f"final {plan.seed}")  # noqa: S311
            clients = Clients(session, plan.gateway_urls, recorder, draw)

            async def read_next() -> None:
                while todo:
                    order = todo.pop()
                    status = await _read_to_end(clients, order, until_s)
                    if not status:
                        unread.append("|".join((*order.storefront[:2], order.key)))
                    elif status in AT_REST:
                        ended.append(order)

            await asyncio.gather(*(read_next() for _ in range(FINAL_READERS)))
            if load.living is not None:
                unread += await finish_living(clients, load.living, until_s)
            await _repeat(clients, ended[:FINAL_REPEATS_MAX])
            await _wallets(clients, plan)
            load.op_count = recorder.op_count
    document = {"is_complete": not unread, "unread": sorted(unread), "counts": load.counts}
    (load.directory / FINAL_NAME).write_bytes(msgspec.json.encode(document))
    return not unread


async def _read_to_end(clients: Clients, order: SentOrder, until_s: float) -> str:
    """Return how an order ended, or that it is "not found"; nothing when that was not told in time."""
    while True:
        ended = await clients.get(order.storefront, order.key)
        if ended.status == _NOT_FOUND:
            return "not found"
        if ended.payment_status in AT_REST:
            return ended.payment_status
        if time.monotonic() >= until_s:
            return ""
        await asyncio.sleep(FINAL_PAUSE_S)


async def _repeat(clients: Clients, orders: list[SentOrder]) -> None:
    """Send orders that have ended once more: each has to get the answer that it got before.

    Never one that is not there: that would begin it anew.
    """

    async def repeat_next() -> None:
        while orders:
            await clients.post(orders.pop(), is_shuffled=True)

    await asyncio.gather(*(repeat_next() for _ in range(FINAL_READERS)))


async def _wallets(clients: Clients, plan: LoadPlan) -> None:
    for storefront in plan.storefronts:
        for owner in (storefront.merchant, *storefront.sellers):
            await clients.wallet(storefront, owner)


@asynccontextmanager
async def _http(plan: LoadPlan) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=plan.answer_s_max)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session


async def _documented(session: aiohttp.ClientSession, plan: LoadPlan) -> dict[str, int]:
    """Return the status of every problem code, as a gateway's own page lists them."""
    reader = Inspector(session, plan.gateway_urls[0], plan.storefronts[0].api_key, ())
    return await reader.documented()


def _unix_less_monotonic_ns() -> int:
    since_1970 = SystemClock().now() - _UNIX_BEGAN
    return since_1970 // timedelta(microseconds=1) * 1_000 - time.monotonic_ns()
