"""The locust file, run as people run it: its shops find nothing wrong, and would tell if they did."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.acceptance.running_stack import RunningStack
from tests.source_tree import ROOT

# Every step of a shop; a name that is missing was never exercised.
STEPS = {
    "POST /v1/sellers",
    "POST /v1/payments",
    "POST /v1/payments (wait)",
    "POST /v1/payments (again)",
    "GET /v1/payments/{id}",
    "GET /v1/payments/{id}/transfers",
    "GET /v1/wallets/{owner}",
}


def _locust(url: str, api_key: str, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """Run it without its page, in a process of its own; return its exit code and its figures."""
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest" / "locustfile.py"),
         "--headless", "--json", "--host", url, "--api-key", api_key, *options],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    figures: list[dict[str, Any]] = json.loads(done.stdout)
    return done.returncode, figures


def test_the_shops_find_nothing_wrong(stack: RunningStack) -> None:
    """Under load every order ends as its token says, is booked so, and is answered the same again."""
    status = stack.status()
    exit_code, figures = _locust(
        status["gateway_url"], status["api_key"], "-u", "5", "-r", "5", "-t", "5s", "--sellers", "2"
    )
    assert {each["name"]: each["num_failures"] for each in figures} == dict.fromkeys(STEPS, 0)
    assert all(each["num_requests"] > 0 for each in figures)
    assert exit_code == 0


def test_the_shops_tell_what_is_wrong(stack: RunningStack) -> None:
    """A run in which every request is refused fails, and counts each refusal."""
    exit_code, figures = _locust(
        stack.status()["gateway_url"], "sk_test_nobody", "-u", "2", "-r", "2", "-t", "2s"
    )
    assert exit_code == 1
    assert all(each["num_failures"] == each["num_requests"] > 0 for each in figures)
