"""``tally bench`` as continuous integration runs it: that it measures all it says, not how fast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from loadtest.bench.plan import RATIOS

NAMES = ("noop", "accept", "engine", "copy", "e2e_uniform", "handwritten_hot")
COMMAND_TIMEOUT_S = 300.0


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The short form, on a stack without Ray."""
    options = ("--short", "--json", "--hosts-without-ray", "--gateways", "1", "--hosts", "1")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ops.cli", "bench", *NAMES, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout[-2_000:]}"
    whole: dict[str, Any] = json.loads(done.stdout)
    return whole


def test_every_run_has_every_field(document: dict[str, Any]) -> None:
    """No figure is left out because it is hard to get for one of the runs."""
    assert tuple(document["runs"]) == NAMES
    for name, run in document["runs"].items():
        assert run["rate_per_s"] > 0, name
        assert 0 < run["p50_ms"] <= run["p99_ms"], name
        assert sum(run["cpu_s_per_payment"].values()) > 0, name
        assert {"postgres_primary", "redis_primary"} <= set(run["pss_peak_bytes"]), name
        assert all(size > 0 for size in run["pss_peak_bytes"].values()), name
        assert set(run["fsyncs"]) == {
            "postgres_primary_wal",
            "postgres_primary_data",
            "redis_primary_aof",
            "redis_replica_aof",
        }
        assert len(run["repeats"]) == 1


def test_costs_stand_where_the_work_is(document: dict[str, Any]) -> None:
    """Who writes to a store has bytes and syncs there, and nobody else has."""
    runs = document["runs"]
    for name in ("copy", "handwritten_hot", "engine", "e2e_uniform"):
        assert runs[name]["wal_bytes_per_payment"] > 500, name
    for name in ("accept", "e2e_uniform"):
        assert runs[name]["aof_bytes_per_payment"] > 200, name
        assert runs[name]["fsyncs"]["redis_primary_aof"] > 0, name
        assert runs[name]["fsyncs"]["redis_replica_aof"] > 0, name
    assert runs["noop"]["aof_bytes_per_payment"] == 0
    assert runs["noop"]["wal_bytes_per_payment"] < 50
    # One transaction a payment; flushes of many.
    assert runs["handwritten_hot"]["fsyncs"]["postgres_primary_wal"] > 10
    assert runs["e2e_uniform"]["cpu_s_per_payment"]["host"] > 0
    assert runs["handwritten_hot"]["cpu_s_per_payment"]["server"] > 0


def test_the_books_are_green_and_durability_is_strict(document: dict[str, Any]) -> None:
    """A figure counts only with the servers' own word on fsync, and with books that are right."""
    assert document["verify"]["ok"] is True
    assert document["void"] == []
    assert all(len(checks) == 1 for checks in document["verify"]["runs"].values())
    durability = document["durability"]
    assert durability["postgres_primary"]["synchronous_commit"] == "on"
    assert durability["postgres_primary"]["fsync"] == "on"
    assert durability["redis_primary"]["appendfsync"] == "always"
    assert durability["redis_replica"]["appendfsync"] == "always"


def test_the_conditions_are_told(document: dict[str, Any]) -> None:
    """Whoever reads the figures later knows what they were measured on, and by what."""
    assert {"cpu_model", "core_count", "memory_bytes", "kernel", "load_average_before"} <= set(
        document["machine"]
    )
    assert {"python", "postgres", "valkey"} <= set(document["machine"]["versions"])
    assert set(document["revision"]) == {"commit", "is_changed"}
    assert document["seed"] == 1
    assert document["options"]["is_short"] is True
    assert document["generator"]["rate_per_s_alone"] > 0
    assert document["generator"]["is_enough"] in (True, False)
    made = {ratio.name for ratio in RATIOS if {ratio.run, ratio.to} <= set(NAMES)}
    assert set(document["ratios"]) == set(document["cpu_ratios"]) == made
    assert set(document["floors"]) <= made
    assert document["floors"]
    assert all(floor["met"] is None for floor in document["floors"].values())
    assert datetime.fromisoformat(document["measured_at"]).tzinfo is not None


def test_a_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    """A benchmark that is told to stop ends its stack and deletes its data before it goes."""
    with subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "ops.cli", "bench", "e2e_uniform"),
            *("--short", "--hosts-without-ray"),
        ],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as bench:
        assert bench.stderr is not None
        for line in bench.stderr:
            if "a stack" in line:
                break
        give_up_at_s = time.monotonic() + 60.0
        while not list(tmp_path.glob("*/data")):
            assert time.monotonic() < give_up_at_s
            time.sleep(0.05)
        bench.terminate()
        said = bench.stderr.read()
    assert bench.returncode == 130, said
    assert "interrupted" in said
    assert list(tmp_path.iterdir()) == []
