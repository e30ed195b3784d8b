"""Carrying out the baselines: no queue, no owners; the stack's servers are the same."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import asyncpg
import msgspec

from loadtest.bench.baselines.copy import BATCH_PAYMENTS, CopyResult
from loadtest.bench.faults import BenchFailed
from loadtest.bench.figures import Figures
from loadtest.bench.generator.job import LoadJob
from loadtest.bench.loading import load
from loadtest.bench.measuring import SERVER, measured
from loadtest.bench.plan import Options
from loadtest.bench.servers import servers
from loadtest.bench.stack import SELLERS, BenchStack
from loadtest.bench.statements import load_own_statements, read_own_sql
from loadtest.bench.statistics import percentile
from ops.stack.environment import python_environment
from storage.connections import Connector
from storage.migrations import migrate, migrations_of_package

# One for each core of the machine that the floors are meant for; gateway and host are two as well.
HANDWRITTEN_PROCESS_COUNT = 2

# Rows are made before the clock runs, and each batch of them takes 10 MB: at most so many a second.
COPY_BATCHES_A_SECOND = 20

_HANDWRITTEN = load_own_statements("handwritten.sql")
_NOTHING_KEPT = {"ok": True, "by": "nothing is kept"}


async def run_noop(stack: BenchStack, options: Options, job: LoadJob) -> Figures:
    """The handler that parses and answers, in as many processes as there are gateways."""
    async with servers("noop", count=options.gateways, form=options.form, secrets={}) as noop:
        host, port = noop.address
        job = msgspec.structs.replace(job, host=host, port=port)
        async with measured(stack, dict.fromkeys(noop.pids, SERVER)) as reading:
            loaded = await load(job, reading.note_generator)
    return reading.figures(
        payments=loaded.accepted_count,
        seconds=loaded.seconds,
        p50_ms=loaded.at_once.p50_ms,
        p99_ms=loaded.at_once.p99_ms,
        latency_of="POST to 202",
        verify=_NOTHING_KEPT,
        loaded=loaded,
        detail={"processes": options.gateways, "durability": reading.durability},
    )


async def run_handwritten(stack: BenchStack, options: Options, job: LoadJob) -> Figures:
    """The service that one writes by hand, with the best of several pool sizes."""
    tried: dict[str, float] = {}
    best: Figures | None = None
    for pool_size in options.pool_sizes:
        figures = await _run_handwritten(stack, options, job, pool_size)
        tried[str(pool_size)] = figures.rate_per_s
        if best is None or figures.rate_per_s > best.rate_per_s:
            best = figures
    if best is None:
        raise BenchFailed("the handwritten service needs a pool size")
    return msgspec.structs.replace(best, detail={**best.detail, "rate_per_s_by_pool_size": tried})


async def _run_handwritten(
    stack: BenchStack, options: Options, job: LoadJob, pool_size: int
) -> Figures:
    async with stack.database("bench_handwritten") as dsn:
        return await _run_handwritten_on(dsn, stack, options, job, pool_size)


async def _run_handwritten_on(
    dsn: str, stack: BenchStack, options: Options, job: LoadJob, pool_size: int
) -> Figures:
    await _prepare_handwritten(dsn)
    secrets = {"BENCH_DSN": dsn, "BENCH_API_KEY": job.api_key}
    pool_option = ("--pool-size", str(max(1, pool_size // HANDWRITTEN_PROCESS_COUNT)))
    async with servers(
        "handwritten",
        *pool_option,
        count=HANDWRITTEN_PROCESS_COUNT,
        port_option="--port",
        form=options.form,
        secrets=secrets,
    ) as service:
        host, port = service.address
        job = msgspec.structs.replace(job, host=host, port=port)
        async with measured(stack, dict.fromkeys(service.pids, SERVER)) as reading:
            loaded = await load(job, reading.note_generator)
    return reading.figures(
        payments=loaded.accepted_count,
        seconds=loaded.seconds,
        p50_ms=loaded.at_once.p50_ms,
        p99_ms=loaded.at_once.p99_ms,
        latency_of="POST to 201, which is settled",
        verify=await _audit_handwritten(dsn, loaded.accepted_count),
        loaded=loaded,
        detail={
            "processes": HANDWRITTEN_PROCESS_COUNT,
            "pool_size": pool_size,
            "durability": reading.durability,
        },
    )


async def _prepare_handwritten(dsn: str) -> None:
    connection: asyncpg.Connection[Any] = await asyncpg.connect(dsn)
    try:
        await connection.execute(read_own_sql("handwritten_schema.sql"))
        await connection.copy_records_to_table(
            "wallet", records=[(seller,) for seller in SELLERS], columns=("seller_id",)
        )
    finally:
        await connection.close()


async def _audit_handwritten(dsn: str, count: int) -> dict[str, Any]:
    connection: asyncpg.Connection[Any] = await asyncpg.connect(dsn)
    try:
        row = await connection.fetchrow(_HANDWRITTEN["audit"])
    finally:
        await connection.close()
    assert row is not None
    is_ok = (
        row["orders"] == row["outcomes"] == row["wallet_versions"] == count
        and row["transfers"] == row["events"] == 2 * count
        and row["wallets_minor"] == row["transferred_minor"]
    )
    return {"ok": is_ok, "by": "its own audit", "orders": row["orders"]}


async def run_copy(stack: BenchStack, options: Options, seed: int) -> Figures:
    """Plain COPY into a database of its own, made by the same migrations."""
    async with stack.database("bench_copy") as dsn:
        return await _run_copy_on(dsn, stack, options, seed)


async def _run_copy_on(dsn: str, stack: BenchStack, options: Options, seed: int) -> Figures:
    session = await Connector(dsn, application_name="tally bench").open()
    try:
        await migrate(session, migrations_of_package())
    finally:
        await session.close()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "loadtest.bench.baselines.copy"),
        *("--seconds", str(options.seconds), "--seed", str(seed)),
        *("--batch-count", str(max(2, int(options.seconds * COPY_BATCHES_A_SECOND)))),
        env={**python_environment({"BENCH_DSN": dsn}), **options.form.environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    # It has made its rows; their memory and time are not what is measured.
    await process.stdout.readline()
    async with measured(stack, {process.pid: SERVER}) as reading:
        out, _ = await process.communicate(b"go\n")
    if process.returncode != 0:
        raise BenchFailed("the copying process failed")
    result = msgspec.json.decode(out, type=CopyResult)
    ordered = sorted(result.batch_seconds)
    reading.cpu_s[SERVER] = result.cpu_s
    return reading.figures(
        payments=result.payments,
        seconds=result.seconds,
        p50_ms=percentile(ordered, 50, unit=1_000),
        p99_ms=percentile(ordered, 99, unit=1_000),
        latency_of=f"a batch of {BATCH_PAYMENTS} payments, BEGIN to COMMIT",
        verify=await _audit_copy(dsn, result.payments),
        detail={"batch_payments": BATCH_PAYMENTS, "durability": reading.durability},
    )


async def _audit_copy(dsn: str, count: int) -> dict[str, Any]:
    connection: asyncpg.Connection[Any] = await asyncpg.connect(dsn)
    try:
        found = [
            await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608
            for table in ("payment_order", "order_outcome", "transfer")
        ]
    finally:
        await connection.close()
    return {"ok": found == [count, count, 2 * count], "by": "counted rows", "orders": found[0]}
