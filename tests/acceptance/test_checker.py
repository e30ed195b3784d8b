"""The checker on a real stack: a load with a killed host in it is valid, and damage to its record is found."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from loadtest.checker.checking import check
from loadtest.checker.collecting import collect
from loadtest.checker.rendering import report_lines
from loadtest.checker.report import Report, Verdict
from loadtest.history.of_stack import StackLoad
from tests.acceptance.conftest import StackFactory
from tests.acceptance.running_stack import RunningStack

LOAD_S = 15.0
KILLED_AFTER_S = 6.0
QUIET_S_MAX = 60.0


async def loaded_run(stack: RunningStack, directory: Path) -> dict[str, int]:
    """Load a stack, kill one of its hosts meanwhile, wait, collect; return what the load counted."""
    run: dict[str, Any] = {"home": str(stack.home), "seed": 5, "mix": "kill"}
    cell = "kill/host/under_load"
    run |= {"planned_cells": [cell], "started_ns": time.monotonic_ns()}
    url = (await asyncio.to_thread(stack.status))["gateway_url"]
    host = (await asyncio.to_thread(stack.pids, "host"))[0]
    load = StackLoad(stack.home, (url,), seed=5, rate_per_s=60, seconds=LOAD_S, has_webhooks=True)
    loading = asyncio.create_task(load.run(directory, asyncio.Event()))
    await asyncio.sleep(KILLED_AFTER_S)
    os.kill(host, signal.SIGKILL)
    for dispatcher in await asyncio.to_thread(stack.pids, "dispatcher"):
        os.kill(dispatcher, signal.SIGKILL)
    faults = [
        {"at_ns": time.monotonic_ns(), "cell": cell, "phase": phase} for phase in ("begin", "end")
    ]
    (directory / "faults.jsonl").write_text("\n".join(map(json.dumps, faults)))
    counts = (await loading).counts
    assert await load.wait_quiet(QUIET_S_MAX)
    run["quiesced_ns"] = time.monotonic_ns()
    assert await load.read_final(directory)
    (directory / "run.json").write_text(json.dumps(run))
    assert await collect(directory) == []
    return dict(counts)


@pytest.mark.campaign
async def test_a_load_with_a_killed_host_is_valid(
    stack_factory: StackFactory, tmp_path: Path
) -> None:
    """After a kill -9 under load all records agree; without one row of them they don't."""
    stack = stack_factory()
    await asyncio.to_thread(stack.up, "--no-demo", "--hosts-without-ray")
    counts = await loaded_run(stack, tmp_path)
    assert counts["actions"] > LOAD_S * 40
    report = check(tmp_path)
    assert report.verdict is Verdict.VALID, "\n".join(report_lines(report))
    assert report.counts["orders"] > 300
    assert report.counts["snapshots"] >= 2
    assert [row.begun for row in report.coverage] == [1]
    checked = {each.invariant: each.checked for each in report.invariants}
    assert checked["I20"] > 0
    assert checked["I18"] > 600
    assert checked["I10"] > 0
    assert checked["I11"] > 0
    for table in ("orders", "splits", "transfers", "operations", "checkouts"):
        assert damaged(tmp_path, table).verdict is Verdict.VIOLATED, table
    (tmp_path / "oracle.json").unlink()
    assert check(tmp_path).verdict is Verdict.UNKNOWN
    printed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "loadtest.checker", str(tmp_path), "--json"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert printed.returncode == 2, printed.stderr
    assert json.loads(printed.stdout)["verdict"] == "unknown"


def damaged(directory: Path, table: str) -> Report:
    """The report after one row of a table of the books was lost; the file is mended again."""
    path = directory / "books.json"
    whole = path.read_bytes()
    tables = json.loads(whole)
    del tables[table][len(tables[table]) // 2]
    try:
        path.write_text(json.dumps(tables))
        return check(directory)
    finally:
        path.write_bytes(whole)
