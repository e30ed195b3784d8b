"""The verification: the PSPs' totals, one snapshot of the books, then every check of them and of the PSPs' records."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from ops.verify import checks
from ops.verify.ledger_checks import LedgerChecks
from ops.verify.oracle import open_http
from ops.verify.oracle_checks import OracleChecks, look_at
from ops.verify.progress import VerifyProgress
from ops.verify.report import CheckResult, Report
from ops.verify.results import unreadable
from ops.verify.story import with_story
from runtime.config import Config
from storage.verifying import Snapshot, Unreadable


def step_count(config: Config) -> int:
    """How many steps a verification of this deployment has, for its progress."""
    return len(_names(config))


async def verify(config: Config, progress: VerifyProgress) -> Report:
    """Verify the deployment's books. What can't be read stands in the report; nothing is raised for it."""
    started_s = time.monotonic()
    report = Report()
    async with open_http() as http:
        records = [await look_at(http, psp) for psp in config.psps]
        try:
            async with _moment(config) as (snapshot, beside):
                report.snapshot = snapshot.summary
                oracles = [OracleChecks(beside, progress, record) for record in records]
                report.checks = await _checked(config, (snapshot, beside), progress, oracles, http)
        except Unreadable as reason:
            report.checks = [unreadable(name, str(reason)) for name in _names(config)]
        else:
            report.charges_of_open_orders = sum(
                oracle.in_flight.of_open_orders for oracle in oracles
            )
            report.charges_of_newer_orders = sum(
                oracle.in_flight.of_newer_orders for oracle in oracles
            )
    report.seconds = time.monotonic() - started_s
    report.peak_memory_bytes = peak_memory_bytes()
    return report


@asynccontextmanager
async def _moment(config: Config) -> AsyncIterator[tuple[Snapshot, Snapshot]]:
    """One moment of the books in two sessions. Raises Unreadable."""
    snapshot = await Snapshot.open(config)
    try:
        beside = await snapshot.beside()
        try:
            yield snapshot, beside
        finally:
            await beside.close()
    finally:
        await snapshot.close()


async def _checked(
    config: Config,
    moment: tuple[Snapshot, Snapshot],
    progress: VerifyProgress,
    oracles: Sequence[OracleChecks],
    http: aiohttp.ClientSession,
) -> list[CheckResult]:
    """Check what the server can, and at the same time what passes through us: each leaves processors idle."""
    psp_names = [psp.name for psp in config.psps]
    of_server, ours = (LedgerChecks(session, progress, psp_names=psp_names) for session in moment)
    joined_names = [name for name in checks.LEDGER if name not in checks.STREAMED]
    try:
        async with asyncio.TaskGroup() as both:
            joined = both.create_task(of_server.run(joined_names))
            streamed = both.create_task(_streamed(oracles, http, ours))
    except ExceptionGroup as defects:
        # As if there were one task, because whoever catches it knows no groups; the group tells of the other's.
        raise defects.exceptions[0] from defects
    results = {result.name: result for result in (*joined.result(), *streamed.result())}
    # A session is one task's at a time, and a story is told of both.
    return [await with_story(results[name], *moment) for name in _names(config)]


async def _streamed(
    oracles: Sequence[OracleChecks], http: aiohttp.ClientSession, ledger: LedgerChecks
) -> list[CheckResult]:
    # First all records, while the snapshot is young: so little is in flight.
    for oracle in oracles:
        await oracle.read(http)
    compared = [result for oracle in oracles for result in await oracle.compare()]
    return [*compared, *await ledger.run(checks.STREAMED)]


def _names(config: Config) -> list[str]:
    compared = [f"{name}:{psp.name}" for psp in config.psps for name in checks.ORACLE]
    return [*checks.LEDGER, *compared]


def peak_memory_bytes() -> int:
    """The most that this process ever held in memory at once.

    Read from the kernel's own mark: ``getrusage`` would also count the parent that started us.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
