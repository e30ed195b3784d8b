"""What grows with the number of orders: memory by process, tables and indexes by order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from loadtest.bench.faults import BenchFailed
from loadtest.bench.generator.job import LoadJob
from loadtest.bench.loading import load
from loadtest.bench.machine import machine_facts, measured_at, revision
from loadtest.bench.plan import SIMULATOR, Options
from loadtest.bench.processes import pss_by_role
from loadtest.bench.stack import SELLERS, BenchStack, StackShape
from loadtest.bench.statistics import slope
from loadtest.bench.stores import not_strict
from loadtest.bench.verifying import verify

STEP_ORDERS = 100_000
STEPS_MIN = 10

# Before that, caches and pools still fill up to their bounds.
FITTED_FROM_ORDERS = 100_000

# "At rest" is when buffers were given back and timers found nothing to do.
REST_S = 3.0

# What a local stack shall be able to hold: the bounds below are of this many, with 16 partitions.
GROWTH_GATEWAYS = 2
GROWTH_ORDERS = 100_000
GROWTH_HOSTS = 2
PSS_AT_REST_BYTES_MAX = 2_500_000_000
"""Of the whole stack, right after its start."""
SLOPE_BYTES_MAX = 20.0
"""An order, for each host and gateway."""

# One step of load at a hundred a second; whatever is slower than that is broken.
_STEP_S_MAX = STEP_ORDERS / 100

Progress = Callable[[str], None]
Point = tuple[int, Mapping[str, int]]
"""Orders settled so far, and PSS in bytes by process at rest."""


async def measure_growth(options: Options, order_count: int, progress: Progress) -> dict[str, Any]:
    """Return the document of ``tally bench growth --json``. Raises BenchFailed, LocalFault.

    The PSP is the simulator, a process of its own: one inside the hosts would keep every charge in
    their memory.
    """
    started_s = time.monotonic()
    machine = machine_facts(options.form)

    def tell(text: str) -> None:
        progress(f"{time.monotonic() - started_s:6.1f} s  {text}")

    tell("growth: a stack, PSP simulator")
    stack = await BenchStack.start(StackShape.of(options, SIMULATOR), lambda _: None)
    try:
        points = await _points(stack, options, order_count, tell)
        settled_count = await stack.settled_count()
        tables = await _tables(stack, settled_count)
        durability = await stack.stores.durability()
        machine["versions"] |= await stack.stores.versions()
        verified = await verify(stack.root)
    finally:
        await stack.close(lambda _: None)
    lax = not_strict(durability)
    return {
        "growth": _grown(points, tables),
        "ceilings": _ceilings(points),
        "verify": verified,
        "void": lax + ([] if verified["ok"] else ["the books are not right"]),
        "durability": durability,
        "machine": machine,
        "revision": revision(),
        "measured_at": measured_at(),
        "seed": options.seed,
        "options": {**msgspec.to_builtins(options), "orders": order_count},
        "seconds": round(time.monotonic() - started_s, 1),
    }


async def _points(
    stack: BenchStack, options: Options, order_count: int, tell: Progress
) -> list[Point]:
    """Load step by step; after each step, and before the first, look at memory at rest."""
    step = max(1, min(STEP_ORDERS, order_count // STEPS_MIN))
    names = await stack.names()
    points: list[Point] = []
    done = 0
    while True:
        await asyncio.sleep(REST_S)
        sizes = pss_by_role(names)
        points.append((done, sizes))
        tell(f"{done:,} orders: {sum(sizes.values()) / 1e6:,.0f} MB")
        if done >= order_count:
            return points
        done += await _load_step(stack, options, min(step, order_count - done), done)


async def _load_step(stack: BenchStack, options: Options, count: int, done: int) -> int:
    host, port = stack.gateway
    job = LoadJob(
        host=host,
        port=port,
        api_key=stack.api_key,
        sellers=SELLERS,
        seed=f"{options.seed}/growth/{done}",
        seconds=_STEP_S_MAX,
        requests_max=count,
        connection_count=options.connections,
        held_every=options.held_every,
    )
    before = await stack.taken_in_count()
    loaded = await load(job)
    if loaded.refused:
        raise BenchFailed(f"growth needs every order taken, and got {loaded.refused}")
    await stack.wait_quiet(before + loaded.accepted_count)
    return loaded.accepted_count


async def _tables(stack: BenchStack, order_count: int) -> list[dict[str, Any]]:
    await stack.stores.fetch("checkpoint")
    count = max(1, order_count)
    return [
        {
            **dict(row),
            "table_bytes_per_order": round(row["table_bytes"] / count, 1),
            "index_bytes_per_order": round(row["index_bytes"] / count, 1),
            "other_bytes_per_order": round(row["other_bytes"] / count, 1),
        }
        for row in await stack.stores.fetch("relation_sizes")
    ]


def _grown(points: Sequence[Point], tables: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "points": [{"orders": orders, "pss_bytes": dict(sizes)} for orders, sizes in points],
        "fitted_from_orders": _fitted(points)[0][0],
        "slope_bytes_per_order": slopes(points),
        "tables": tables,
    }


def _fitted(points: Sequence[Point]) -> Sequence[Point]:
    """The points that count for the slope; where too few reach that far, all but the first."""
    late = [point for point in points if point[0] >= FITTED_FROM_ORDERS]
    return late if len(late) > 1 else points[1:] or points


def slopes(points: Sequence[Point]) -> dict[str, float | None]:
    """Bytes an order by process: the least-squares line through its sizes at rest."""
    fitted = _fitted(points)
    return {
        name: slope([(orders, sizes[name]) for orders, sizes in fitted if name in sizes])
        for name in points[0][1]
    }


def _ceilings(points: Sequence[Point]) -> dict[str, dict[str, Any]]:
    """What must not be exceeded, what was seen, and whether it holds."""
    at_rest = sum(points[0][1].values())
    found: dict[str, dict[str, Any]] = {
        "pss_at_rest_bytes": _ceiling(PSS_AT_REST_BYTES_MAX, at_rest)
    }
    if _fitted(points)[0][0] < FITTED_FROM_ORDERS:
        return found  # too short to say anything about slopes
    for name, seen in sorted(slopes(points).items()):
        if name.startswith(("host-", "gateway-")):
            found[f"{name}.slope_bytes_per_order"] = _ceiling(SLOPE_BYTES_MAX, seen)
    return found


def _ceiling(ceiling: float, seen: float | None) -> dict[str, Any]:
    return {
        "ceiling": ceiling,
        "seen": None if seen is None else round(seen, 2),
        "met": seen is not None and seen < ceiling,
    }
