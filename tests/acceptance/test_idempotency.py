"""The idempotency kit against a real stack: every promise holds, also through kills."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from tests.acceptance.running_stack import RunningStack
from tests.rig import until

KIT_S_MAX = 280

# What this stack can't be tried for: it has no live key, and its stores stay up.
SKIPPED = {
    "other_mode",
    "copies_missing",
    "queue_full",
    "books_away",
    "books_away_other_request",
    "queue_away",
}


@pytest.mark.campaign
def test_a_stack_keeps_its_promises_through_kills(stack: RunningStack) -> None:
    """Each row of the table passes on a running stack, those that kill gateways and hosts too."""
    status = stack.status()
    second = stack.json("merchants", "create", "Second")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "loadtest.idempotency", "--json"),
            *("--url", status["gateway_url"], "--key", status["api_key"]),
            *("--second-key", second["api_key"], "--home", str(stack.home), "--delay", "2"),
        ],
        capture_output=True,
        text=True,
        timeout=KIT_S_MAX,
        check=False,
    )
    assert done.stdout, done.stderr
    rows = json.loads(done.stdout)["rows"]
    failed = {row["name"]: row["reason"] for row in rows if row["verdict"] == "fail"}
    assert failed == {}
    assert {row["name"] for row in rows if row["verdict"] == "skipped"} == SKIPPED
    assert done.returncode == 0
    # Others share this stack: what was killed has to be back.
    asyncio.run(until(lambda: bool(stack.status()["healthy"]), timeout_s=60))
    assert stack.tally("verify").returncode == 0
