"""The Python client's README: each marked example runs as it stands against a running stack."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.running_stack import RunningStack
from tests.source_tree import ROOT

_RUN_BLOCK = re.compile(r"^<!-- run -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = _RUN_BLOCK.findall((ROOT / "clients/python/README.md").read_text(encoding="utf-8"))

EXAMPLE_S_MAX = 120.0


def test_the_readme_has_examples() -> None:
    """Payment, async payment, key store, retries, errors, lists, streams and webhooks are shown by running code."""
    assert len(EXAMPLES) == 8


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs_as_it_stands(stack: RunningStack, tmp_path: Path, example: str) -> None:
    """Whoever copies an example has it running, with the two variables that the page names."""
    status = stack.status()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "TALLYSTICK_URL": status["gateway_url"],
            "TALLYSTICK_API_KEY": status["api_key"],
        },
        capture_output=True,
        text=True,
        timeout=EXAMPLE_S_MAX,
        check=False,
    )
    assert done.returncode == 0, f"{example}\n--- printed:\n{done.stdout}{done.stderr}"
    assert done.stdout
