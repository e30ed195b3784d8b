"""Mutants: each still changes something, and none gets in where it must not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from loadtest.mutants.catalogue import MUTANTS
from runtime.mutation import MUTANT_VARIABLE, TEST_STACK_VARIABLE, MutantRefused, mutate


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mutant_finds_its_place(name: str) -> None:
    """Each is put into a process of its own: its place is still there."""
    code = f"from loadtest.mutants import apply; apply({name!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_without_a_name_nothing_is_changed() -> None:
    """The usual case."""
    assert mutate({TEST_STACK_VARIABLE: "1"}, is_sandbox=True) is None


@pytest.mark.parametrize(
    ("environment", "is_sandbox"),
    [
        ({MUTANT_VARIABLE: "ack_before_wait"}, True),
        ({MUTANT_VARIABLE: "ack_before_wait", TEST_STACK_VARIABLE: "0"}, True),
        ({MUTANT_VARIABLE: "ack_before_wait", TEST_STACK_VARIABLE: "1"}, False),
        ({MUTANT_VARIABLE: "no_such_mutant", TEST_STACK_VARIABLE: "1"}, True),
    ],
)
def test_a_defect_gets_in_on_test_stacks_alone(
    environment: dict[str, str], is_sandbox: bool
) -> None:
    """Neither without the second variable, nor where money is real, nor by a wrong name."""
    with pytest.raises(MutantRefused):
        mutate(environment, is_sandbox=is_sandbox)
