"""A whole run: a stack, a load, the plan, then heal, quiet, final reads, the verdict, and the figures."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadtest.bench.machine import machine_facts, measured_at, revision
from loadtest.chaos.cells import FaultKind
from loadtest.chaos.document import document_of
from loadtest.chaos.failures import ChaosFailed
from loadtest.chaos.judging import VALID, judge
from loadtest.chaos.loads import make_load
from loadtest.chaos.options import Options
from loadtest.chaos.quiet import dump_queue, wait_quiet
from loadtest.chaos.recording import (
    DOCUMENT_FILE,
    RUN_FILE,
    FaultLog,
    unix_less_monotonic_ns,
    unmade,
    write_json,
)
from loadtest.chaos.running import Runner
from loadtest.chaos.sampling import EVERY_S, OFTEN_S, Sampler
from loadtest.chaos.stack import ChaosShape, ChaosStack
from ops.compiled.form import present_form
from runtime.clock import SystemClock

Progress = Callable[[str], None]

# Below the run's directory.
LOGS = "logs"

# Load alone after the last heal: that it is back is seen, not hoped.
AFTER_S = 8.0


class Session:
    """Makes one run. ``progress`` is told what comes next, with the time since the start."""

    def __init__(self, options: Options, progress: Progress) -> None:
        self._options = options
        self._tell = progress
        self._began_s = time.monotonic()
        self._times: dict[str, int] = {}

    async def run(self) -> dict[str, Any]:
        """Return the document of ``tally chaos --json``. Raises ChaosFailed, LocalFault."""
        options = self._options
        machine = machine_facts(present_form(options.environment))
        is_kept = options.directory is not None
        directory = options.directory or Path(tempfile.mkdtemp(prefix="tally-chaos-run-"))
        directory.mkdir(parents=True, exist_ok=True)  # before anything runs
        try:
            document = await self._on_a_stack(directory)
            # What shows a violation is worth more than the disk that it takes.
            is_kept = is_kept or document["verdict"] != VALID
        finally:
            if not is_kept:
                await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        document = {
            **document,
            "machine": machine,
            "revision": revision(),
            "measured_at": measured_at(),
            "seconds": round(time.monotonic() - self._began_s, 1),
            "directory": str(directory) if is_kept else None,
        }
        if is_kept:
            write_json(directory / DOCUMENT_FILE, document)
        return document

    async def _on_a_stack(self, directory: Path) -> dict[str, Any]:
        options = self._options
        self._progress("a stack of its own, every way through the proxy")
        shape = ChaosShape(
            gateway_count=options.gateways,
            host_count=options.hosts,
            is_ray_used=options.is_ray_used,
            has_small_disks=options.has(FaultKind.DISK),
            has_shifted_clocks=options.has(FaultKind.CLOCK),
            environment=options.environment,
        )
        stack = await ChaosStack.start(shape, lambda _: None)
        log = FaultLog(directory)
        sampler = Sampler(stack, OFTEN_S if options.single else EVERY_S)
        try:
            left = await self._load_and_faults(stack, log, sampler, directory)
            await self._write_run(stack, directory)
            self._progress("checking")
            judged = await judge(
                stack.root,
                directory,
                left,
                is_checked=options.single is None,
                unmade=unmade(options.cells(), log.lines),
            )
            partition_count = stack.state().partition_count
        finally:
            await sampler.stop()
            log.close()
            self._progress("stopping the stack")
            await asyncio.to_thread(_copy_logs, stack.home.logs, directory / LOGS)
            await stack.close(lambda _: None)
        return document_of(
            options, directory, log.lines, sampler, judged, self._times, partition_count
        )

    async def _load_and_faults(
        self, stack: ChaosStack, log: FaultLog, sampler: Sampler, directory: Path
    ) -> str | None:
        """Return what was left under way at the end, if anything was."""
        options = self._options
        planned = options.planned()
        load = make_load(stack, options)
        stop = asyncio.Event()
        self._times["started_ns"] = time.monotonic_ns()
        loading = asyncio.create_task(load.run(directory, stop))
        sampler.start()
        self._progress(
            f"load: {options.rate_per_s:.0f} a second; faults: {len(planned)},"
            f" cells: {len(options.cells())}"
        )
        running = asyncio.create_task(self._faults(stack, log))
        try:
            await asyncio.wait([running, loading], return_when=asyncio.FIRST_COMPLETED)
            if loading.done():
                loading.result()
                raise ChaosFailed("the load ended before its time")
            await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            stop.set()
            loading_end = asyncio.gather(loading, return_exceptions=True)
            if running.cancelled() or running.exception() is not None:
                loading.cancel()
            await loading_end
        loading.result()
        self._times["load_ended_ns"] = time.monotonic_ns()
        self._progress("load ended; waiting until nothing is under way")
        left = await wait_quiet(stack, sampler, self._progress)
        self._times["quiesced_ns"] = time.monotonic_ns()
        self._progress("final reads")
        await load.read_final(directory)
        await dump_queue(stack, directory)
        self._times["ended_ns"] = time.monotonic_ns()
        return left

    async def _faults(self, stack: ChaosStack, log: FaultLog) -> None:
        """Make all faults, heal, and let the load go on for a while."""
        options = self._options
        began_s = time.monotonic()
        await Runner(stack, log, self._progress).run(options.planned(), options.seconds)
        await stack.proxy.heal()
        self._times["healed_ns"] = time.monotonic_ns()
        rest_s = options.seconds - (time.monotonic() - began_s)
        await asyncio.sleep(max(AFTER_S, rest_s))

    async def _write_run(self, stack: ChaosStack, directory: Path) -> None:
        options = self._options
        now_ns = int(SystemClock().now().timestamp() * 1e9)
        write_json(
            directory / RUN_FILE,
            {
                "seed": options.seed,
                "mix": options.single or options.mix,
                "minutes": options.minutes,
                "revision": revision()["commit"] or "",
                "home": str(stack.root),
                "planned_cells": [cell.name for cell in options.cells()],
                "unix_less_monotonic_ns": unix_less_monotonic_ns(now_ns),
                **self._times,
            },
        )

    def _progress(self, text: str) -> None:
        self._tell(f"{time.monotonic() - self._began_s:6.1f} s  {text}")


def _copy_logs(source: Path, target: Path) -> None:
    """Keep what the processes said. Ray's logs lie elsewhere, and are many."""
    target.mkdir(exist_ok=True)
    for path in source.glob("*.log"):
        shutil.copy(path, target / path.name)
