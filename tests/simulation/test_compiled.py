"""Both forms of the code take the same steps under the same faults."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.compiled.form import Form, present_form

ROOT = Path(__file__).parents[2]
SEEDS = 6
SEEDS_OF_CAMPAIGN = 100
FIRST = 900
# Prints the hash over all steps and effects of each seed, and whether the domain was machine code.
PROGRAM = """
import sys
from payments import decision
from tests.simulation import loop
from tests.simulation.drawing import draw
from tests.simulation.world import run
loop._label = lambda step: ""  # coroutines have other names
print(decision.__file__.endswith(".so"))
for seed in range(int(sys.argv[1]), int(sys.argv[1]) + int(sys.argv[2])):
    outcome = run(draw(seed))
    assert not outcome.violations, outcome.violations
    print(seed, outcome.step_count, outcome.order_count, outcome.trace_hash)
"""


def hashes(form: Form, seeds: int) -> list[str]:
    path = [str(ROOT)] if form.root is None else [str(form.root), str(ROOT)]
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, str(FIRST), str(seeds)],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": os.pathsep.join(path),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "seeds", [SEEDS, pytest.param(SEEDS_OF_CAMPAIGN, marks=pytest.mark.campaign)]
)
def test_the_compiled_form_takes_the_same_steps(seeds: int) -> None:
    """Every effect of every process is the same, to the last byte: neither form knows another domain."""
    compiled = present_form({})
    if compiled.root is None:
        pytest.skip(str(compiled))
    is_machine_code, *of_compiled = hashes(compiled, seeds)
    is_machine_code_too, *of_interpreted = hashes(Form(None, "asked for"), seeds)
    assert (is_machine_code, is_machine_code_too) == ("True", "False")
    assert len(of_compiled) == seeds
    assert of_compiled == of_interpreted
