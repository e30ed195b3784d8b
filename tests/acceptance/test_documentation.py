"""The commands of the documentation, run as they stand against a running stack.

A ```sh block runs when the line above it is ``<!-- run -->``. All of a page's blocks run in one
shell, in their order, so that later ones may use what earlier ones set.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.running_stack import RunningStack

ROOT = Path(__file__).parents[2]
README = "README.md"
PAGES = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))

# The run of faults that stands there takes longest of all: test_chaos.py makes it, and looks at what comes of it.
RUN_ELSEWHERE = "docs/chaos.md"

_RUN_BLOCK = re.compile(r"^<!-- run -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# The longest page takes half a minute on an idle machine.
SHELL_S_MAX = 240.0


def script_of(page: str) -> str:
    """Return the page's commands that are marked to be run, as one script."""
    return "".join(_RUN_BLOCK.findall((ROOT / page).read_text(encoding="utf-8")))


def run_commands(stack: RunningStack, script: str) -> str:
    """Run commands as a reader would, stopping at the first that fails; return what they print."""
    done = subprocess.run(
        ["/bin/sh", "-eu"],
        input=script.replace(".venv/bin/", f"{Path(sys.executable).parent}/"),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(stack.home), "TALLY_HOME": str(stack.home)},
        capture_output=True,
        text=True,
        timeout=SHELL_S_MAX,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n--- printed:\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_readme_has_commands_to_run() -> None:
    """The newcomer's page is held to what it says: its commands are marked."""
    assert "/v1/payments" in script_of(README)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if script_of(page) and page != RUN_ELSEWHERE]
)
def test_the_commands_of_the_documentation_work(stack: RunningStack, page: str) -> None:
    """Every marked command of a page does what it is for, one after the other."""
    run_commands(stack, script_of(page))


def test_the_first_payment_of_the_readme_succeeds(stack: RunningStack) -> None:
    """Whoever follows the README has charged, booked and read a payment within its few lines."""
    printed = run_commands(stack, script_of(README))
    posted, read, transfers, wallet = printed.splitlines()[-4:]
    assert '"status":"succeeded"' in posted
    assert posted == read
    assert '"kind":"charge"' in transfers
    assert '"object":"wallet"' in wallet
