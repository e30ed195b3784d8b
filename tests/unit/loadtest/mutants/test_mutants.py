"""Mutants: each still changes something, and none gets in where it must not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from loadtest.mutants.catalogue import MUTANTS
from loadtest.mutants.patching import (
    MutantOutdated,
    change_script,
    change_statement,
    replace_attribute,
    replace_text,
)
from runtime.mutation import MUTANT_VARIABLE, TEST_STACK_VARIABLE, MutantRefused, mutate
from storage import lane
from tests.source_tree import ROOT
from tests.unit.loadtest.mutants.probing import probe_of

MIXES = {"none", "kill", "freeze", "network", "psp", "poison", "double_start", "stores", "all"}

# Name -> (the product's answer, the mutant's). The questions are in the probes_*.py of this folder.
ANSWERS: Mapping[str, tuple[object, object]] = {
    "ack_before_wait": (False, True),
    "wait_count_unchecked": ([False, True], [True, True]),
    "full_is_accepted": (["backpressure", False], ["accepted", True]),
    "fingerprint_not_compared": ([422, 201], [201, 201]),
    "queued_order_not_found": ([200, 200], [404, 200]),
    "frozen_answer_changes": (1, 3),
    "merchant_left_out": ([2, 2], [1, 2]),
    "look_ups_from_a_late_copy": ([201], [201, 202]),
    "duplicate_does_not_write": (1, 0),
    "second_body_wins": ([1, 0], [2, 1]),
    "stream_trimmed_by_length": (0, 1),
    "removed_before_commit": (1, 0),
    "removed_up_to_the_last_read": ([1, ["2-0", "3-0"]], [1, ["3-0"]]),
    "cursor_stored": ([2, 3], [2, 1]),
    "fence_skipped": ([True, True, "replaced"], [False, False, "written"]),
    "epoch_kept_at_takeover": (True, False),
    "read_before_marker": ("on", "local"),
    "balance_written_from_memory": (
        [[0, 88, 1999], True, True],
        [[200, 288, 2199], False, False],
    ),
    "versions_skipped": ([1, 1, 2], [1, 1, 3]),
    "last_event_after_commit": ([2], [1, 1]),
    "chain_skips_declines": (False, True),
    "charge_posted_again_at_takeover": ([[1, 2], [1, 2]], [[1, 2], [1, 2, 3]]),
    "fee_lost_at_takeover": ([[1, 2], [1, 2]], [[1, 2], [1]]),
    "settled_again_after_unknown": (
        ["CommitUnknown", "replaced", True, False],
        ["StorageUnavailable", "written", False, True],
    ),
    "unknown_commit_taken_for_done": ("CommitUnknown", "written"),
    "known_orders_not_asked": (0, 1),
    "inherited_counts_as_clean": (False, True),
    "unknown_does_not_taint": ([False, True, False], [True, True, False]),
    "key_of_the_owner": (True, False),
    "poison_dropped": (1, 0),
    "unknown_is_declined": ("UNKNOWN", "DECLINED_FINAL"),
    "not_found_is_proof": ("UNKNOWN", "CANCELED"),
    "time_out_under_a_new_key": (1, 2),
    "refunds_in_flight_not_counted": (1, 2),
    "operation_runs_again": (0, 1),
    "release_leaves_it_pending": ([0, 0], [500, 500]),
    "first_sellers_pay": ([60, 40], [100, 0]),
}


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What the product and its mutants answered: asked in other processes, which stay as they are."""
    path = tmp_path_factory.mktemp("mutants") / "probed.json"
    command = [sys.executable, "-m", "tests.unit.loadtest.mutants.probing", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: Mapping[str, Any] = {**json.loads(path.read_text()), "said": done.stderr}
    return found


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mutant_changes_what_it_says(probed: Mapping[str, Any], name: str) -> None:
    """Its place is still there, and the process answers otherwise than the product does."""
    sound, mutated = ANSWERS[name]
    assert sound != mutated
    assert probed[name] == [sound, mutated], probed["said"]


def test_the_catalogue_is_whole() -> None:
    """Each is described, has a mix that there is and a question of its own; themes don't share names."""
    assert len(MUTANTS) >= 22
    for name, mutant in MUTANTS.items():
        assert mutant.name == name
        assert mutant.defect
        assert mutant.mix in MIXES
        assert all(number.startswith("I") and number[1:].isdigit() for number in mutant.breaks)
        assert probe_of(name) is not None
    described = Counter(mutant.defect for mutant in MUTANTS.values())
    assert set(described.values()) == {1}


def test_a_place_that_is_gone_is_told() -> None:
    """A patch that would change nothing fails instead."""
    with pytest.raises(MutantOutdated):
        replace_attribute(lane, "no_such_function", None)
    with pytest.raises(MutantOutdated):
        replace_text("once and once more", "once", "never")
    with pytest.raises(MutantOutdated):
        change_statement(lane, "no_such_statement", str.upper)
    with pytest.raises(MutantOutdated):
        change_script("append", ("no such line", ""))


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
