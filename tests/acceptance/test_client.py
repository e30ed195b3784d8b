"""The Python client on a stack whose gateways die, whose connections break, and whose own process is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from loadtest.client.running import SHORT_PATTERNS

SHORT_S_MAX = 300.0
LONG_S_MAX = 1_500.0


def run_of(*options: str, timeout_s: float) -> dict[str, Any]:
    """Return what `python -m loadtest.client` printed; it has to find nothing wrong."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "loadtest.client", *options, "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr[-4_000:]}\n{done.stdout[-4_000:]}"
    whole: dict[str, Any] = json.loads(done.stdout)
    return whole


def test_every_cart_is_charged_once_in_the_short_form() -> None:
    """Some faults, some killed storefronts, and as many charges as carts."""
    document = run_of("--short", timeout_s=SHORT_S_MAX)
    assert document["violations"] == []
    assert document["charges"] == document["payments"]
    assert document["processes_killed"] > 0
    assert set(document["faults"]) == set(SHORT_PATTERNS)
    assert document["books"]["ok"] is True


@pytest.mark.campaign
@pytest.mark.timeout(LONG_S_MAX)
def test_ten_thousand_carts_are_charged_once() -> None:
    """Every fault that a storefront sees something of, round after round, and as many charges as carts."""
    document = run_of(timeout_s=LONG_S_MAX)
    assert document["payments"] == document["charges"] == 10_000
    assert len(document["faults"]) > 10
    assert document["processes_killed"] > 10
    assert document["met"]["attempts"]
