"""The verification: the PSPs' totals, one snapshot of the books, the PSPs' records, then every check."""

from __future__ import annotations

import time
from pathlib import Path

from ops.verify import checks
from ops.verify.ledger_checks import LedgerChecks
from ops.verify.oracle import open_http
from ops.verify.oracle_checks import OracleChecks, look_at
from ops.verify.progress import VerifyProgress
from ops.verify.report import CheckResult, Report
from ops.verify.results import unreadable
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
            snapshot = await Snapshot.open(config)
        except Unreadable as reason:
            report.checks = [unreadable(name, str(reason)) for name in _names(config)]
        else:
            try:
                report.snapshot = snapshot.summary
                oracles = [OracleChecks(snapshot, progress, record) for record in records]
                # First the records, while the snapshot is young: so little is in flight.
                for oracle in oracles:
                    await oracle.read(http)
                report.checks = await _checked(config, snapshot, progress, oracles)
            finally:
                await snapshot.close()
            report.charges_of_open_orders = sum(
                oracle.in_flight.of_open_orders for oracle in oracles
            )
            report.charges_of_newer_orders = sum(
                oracle.in_flight.of_newer_orders for oracle in oracles
            )
    report.seconds = time.monotonic() - started_s
    report.peak_memory_bytes = peak_memory_bytes()
    return report


async def _checked(
    config: Config, snapshot: Snapshot, progress: VerifyProgress, oracles: list[OracleChecks]
) -> list[CheckResult]:
    ledger = LedgerChecks(snapshot, progress, psp_names=[psp.name for psp in config.psps])
    results = await ledger.run()
    for oracle in oracles:
        results += await oracle.compare()
    return results


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
