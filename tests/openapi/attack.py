"""Runs schemathesis, with all its checks, against a gateway."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")


def attack(
    url: str, keys: Mapping[str, str], *, max_examples: int, seed: int, timeout_s: float | None
) -> subprocess.CompletedProcess[str]:
    """Attack the gateway at ``url``; exit code 0 says that nothing was found.

    ``keys`` by role, ``merchant`` and ``operator``. Raises subprocess.TimeoutExpired.
    """
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "--config-file",
            str(CONFIG),
            "run",
            f"{url}/openapi.json",
            "--max-examples",
            str(max_examples),
            "--seed",
            str(seed),
            "--continue-on-failure",
            "--no-color",
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "OPENAPI_MERCHANT_KEY": keys["merchant"],
            "OPENAPI_OPERATOR_KEY": keys["operator"],
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
