"""The locust file's options, checked before any shop opens."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.source_tree import ROOT

HOST = ("--host", "http://127.0.0.1:9")
KEY = ("--api-key", "sk_test_any")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (KEY, "--host is missing"),
        ((*KEY, "--host", "localhost:7400"), "--host must be a URL"),
        (HOST, "--api-key is missing"),
        ((*HOST, *KEY, "--sellers", "0"), "--sellers must be at least 1, not 0"),
        # A run in which nothing was asked would end as one in which nothing was wrong.
        ((*HOST, *KEY, "-u", "0"), "--users must be at least 1, not 0"),
        ((*HOST, *KEY, "-t", "0s"), "--run-time must be at least 1s"),
    ],
)
def test_a_wrong_option_ends_the_run_at_its_start(options: tuple[str, ...], why: str) -> None:
    """What no shop can work with is one clear sentence and exit code 2, and no request is made."""
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest" / "locustfile.py"),
         "--headless", "-u", "1", "-t", "1s", *options],
        # Options that the environment gives would stand in for those that are missing.
        env={k: v for k, v in os.environ.items() if not k.startswith(("LOCUST_", "TALLY_"))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"Error: {why}" in done.stderr
    assert "Traceback" not in done.stderr
