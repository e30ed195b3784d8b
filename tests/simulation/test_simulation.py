"""Seeds in their short form, the determinism gate, kept regressions, and the checks themselves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from loadtest.checker.records import PoisonRecord
from loadtest.mutants.catalogue import MUTANTS
from payments.disputes import DisputeState
from payments.event_rows import PspEventRow
from payments.rows import TransferKind
from tests.operated import a_dispute_event
from tests.simulation.__main__ import Shown, try_script, violated_by
from tests.simulation.adapter_mutants import COUNTERPARTS
from tests.simulation.checks import Violation, check
from tests.simulation.drawing import draw
from tests.simulation.loop import running_loop
from tests.simulation.records import Evidence, PspRecord, frozen_replicas
from tests.simulation.script import FAULT_KINDS, Fault, Knobs, Operation, Script
from tests.simulation.shrinking import shrink
from tests.simulation.world import World, _log_into, run
from tests.source_tree import ROOT

REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.json"))
# Few, chosen so that every kind of fault is among them; `make sim` runs hundreds.
SHORT_FORM_SEEDS = range(14, 34)

_HASH_OF_SEEDS = """
from tests.simulation.drawing import draw
from tests.simulation.world import run
print([run(draw(seed)).trace_hash for seed in (3, 5, 8)])
"""


def _python(*arguments: str, hash_seed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(300)
def test_everything_holds_in_the_short_form() -> None:
    """A few seeds, each run twice with the same steps, end without a violation."""
    count, first = str(len(SHORT_FORM_SEEDS)), str(SHORT_FORM_SEEDS.start)
    # One process: other tests run beside it.
    ran = _python(
        *("-m", "tests.simulation", "--seeds", count, "--first", first, "--jobs", "1"),
        hash_seed="0",
    )
    assert ran.returncode == 0, ran.stdout[-10_000:]
    assert f"{count} seeds, each twice" in ran.stdout
    undone = re.search(r"undone by a promotion: (\d+)", ran.stdout)
    assert undone is not None
    # What a marker is for: without such commits nothing tells whether anybody waits for it.
    assert int(undone[1]) > 0


def test_the_short_form_has_every_fault() -> None:
    """No kind of fault is left to longer runs alone."""
    kinds = {fault.kind for seed in SHORT_FORM_SEEDS for fault in draw(seed).faults}
    assert kinds == set(FAULT_KINDS)


def test_the_short_form_has_disputes_and_webhooks() -> None:
    """Nor are what buyers' banks do, and what PSPs tell: late, twice, and with forgers among them."""
    scripts = [draw(seed) for seed in SHORT_FORM_SEEDS]
    ends = {each.dispute.ends for script in scripts for each in script.operations if each.dispute}
    assert ends == {"", "won", "lost"}
    knobs = [script.knobs for script in scripts if script.knobs.webhook_share]
    assert any(each.webhook_twice for each in knobs)
    assert any(each.webhook_forged for each in knobs)
    assert any(each.webhook_delay_s for each in knobs)


def test_a_mutant_is_caught() -> None:
    """With a defect in, the command tells which seed shows it; the others are told by name."""
    caught = _python(
        *("-m", "tests.simulation", "--mutant", "fingerprint_not_compared", "--seeds", "2"),
        *("--jobs", "1"),
        hash_seed="0",
    )
    assert caught.returncode == 0, caught.stderr[-2_000:]
    assert "fingerprint_not_compared: caught by seed" in caught.stdout


@pytest.mark.timeout(300)
def test_reading_before_the_marker_is_caught_in_the_short_form() -> None:
    """Some storefront is told what a promotion then undoes: no longer run is needed to see the defect."""
    count, first = str(len(SHORT_FORM_SEEDS)), str(SHORT_FORM_SEEDS.start)
    caught = _python(
        *("-m", "tests.simulation", "--mutant", "read_before_marker"),
        *("--seeds", count, "--first", first),
        *("--jobs", "1"),
        hash_seed="0",
    )
    assert caught.returncode == 0, caught.stdout[-2_000:]


def test_only_an_invariant_that_is_violated_catches_a_mutant() -> None:
    """Neither what could not be looked at, nor that a process stopped by itself."""
    found = [
        Violation("defect", "a partition stopped"),
        Violation("I5", "unknown: the record could not be read"),
        Violation("I13", "two answers"),
        Violation("I13", "two more"),
    ]
    outcome = replace(run(draw(2)), violations=found)
    assert violated_by(outcome) == ("defect", "I13")
    assert Shown("", violated_by(outcome)).is_caught
    assert not Shown("", violated_by(replace(outcome, violations=found[:2]))).is_caught


@pytest.mark.parametrize("name", COUNTERPARTS)
def test_a_counterpart_fits_what_it_changes(name: str) -> None:
    """Each stands for a mutant of the catalogue, and the place that it changes is there."""
    assert name in MUTANTS
    put_in = f"from tests.simulation.adapter_mutants import put_in; put_in({name!r})"
    ran = _python("-c", put_in, hash_seed="0")
    assert ran.returncode == 0, ran.stderr[-2_000:]


def test_a_seed_means_the_same_in_every_process() -> None:
    """Neither addresses nor the hashes of strings decide anything."""
    hashes = {_python("-c", _HASH_OF_SEEDS, hash_seed=seed).stdout for seed in ("1", "2")}
    assert len(hashes) == 1
    assert hashes != {""}


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_what_once_failed_holds(path: Path) -> None:
    """A script that a defect once broke runs twice, by the same steps, without a violation."""
    assert try_script(Script.from_json(path.read_bytes())).failure == ""


def test_a_script_survives_being_kept() -> None:
    """A kept script is the script of its seed, to the last bit."""
    script = draw(17)
    assert Script.from_json(script.to_json()) == script


def test_shrinking_leaves_what_matters() -> None:
    """Of many operations and faults those two remain without which nothing fails."""
    script = draw(1)
    fault = Fault(at_s=1.0, kind="host_kill")
    operation = script.operations[-1]
    script = msgspec.structs.replace(script, faults=(*script.faults, fault))
    short = shrink(script, lambda s: fault in s.faults and operation in s.operations)
    assert short == Script(seed=1, knobs=Knobs(), operations=(operation,), faults=(fault,))


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    """The records of a quiet run: three charges, one of them asked for twice."""
    operations = tuple(
        Operation(
            at_s=1.0 + n, key_no=n % 3, gateway_no=0, amount_minor=500 + n % 3, token="tok_approve"
        )
        for n in range(4)
    )
    script = Script(seed=1, knobs=Knobs(), operations=operations, faults=())
    with running_loop(1) as loop:
        world = World(loop, script)
        _log_into(world)
        assert loop.run_until_complete(world.run()) == []
        return world._evidence()


def _invariants(evidence: Evidence) -> set[str]:
    return {violation.invariant for violation in check(evidence)}


def test_the_checks_see_a_lost_order(evidence: Evidence) -> None:
    """An acknowledged order that no book holds is missed, and so is its charge."""
    books = evidence.books.copy()
    order_uuid, key = next(iter(books.order_keys.items()))
    del books.order_keys[order_uuid], books.orders[key]
    assert "I1" in _invariants(evidence._replace(books=books))


def test_the_checks_see_a_second_charge(evidence: Evidence) -> None:
    """One more successful charge of an order shows, and that no book has it."""
    ((psp, record),) = evidence.oracle.items()
    row = record.rows[0]
    key = row.key[: row.key.rindex("_")] + "_d"
    twice = msgspec.structs.replace(row, key=key, reference="ch_other")
    oracle = {psp: PspRecord([*record.rows, twice], record.burned_keys)}
    assert {"I4", "I6"} <= _invariants(evidence._replace(oracle=oracle))


def test_the_checks_see_wrong_books(evidence: Evidence) -> None:
    """A transfer of another amount breaks the balance, the chain and the match with the PSP."""
    books = evidence.books.copy()
    key, (transfer, at) = next(
        item for item in books.transfers.items() if item[1][0].kind == TransferKind.CHARGE
    )
    books.transfers[key] = (transfer._replace(amount_minor=transfer.amount_minor + 1), at)
    assert {"I6", "I8", "I12"} <= _invariants(evidence._replace(books=books))


def test_the_checks_see_an_order_without_an_end_and_an_event_that_is_missing(
    evidence: Evidence,
) -> None:
    """An order that never ended, and a gap in its events, are told."""
    books = evidence.books.copy()
    key = next(iter(books.outcomes))
    del books.outcomes[key], books.events[*key, 1]
    assert {"I26", "I19"} <= _invariants(evidence._replace(books=books))


def test_the_checks_see_a_dispute_that_nobody_booked(evidence: Evidence) -> None:
    """What a lost dispute took at the PSP, and not in the ledger, shows."""
    ((psp, record),) = evidence.oracle.items()
    row = msgspec.structs.replace(record.rows[0], charged_back=record.rows[0].captured)
    oracle = {psp: PspRecord([row, *record.rows[1:]], record.burned_keys)}
    assert "I5" in _invariants(evidence._replace(oracle=oracle))


def test_the_checks_see_an_event_that_nobody_judged(evidence: Evidence) -> None:
    """What a PSP told of an order of ours, and is still waiting in the end, shows."""
    books = evidence.books.copy()
    order_uuid, key = next(iter(books.order_keys.items()))
    told = a_dispute_event(
        next(iter(evidence.oracle.values())).rows[0], DisputeState.OPENED, disputed_minor=1
    )._replace(order_uuid=order_uuid)
    row = PspEventRow(key[0], *told[:-1])
    books.psp_events.rows[row[:2]] = (row, books.now())
    books.psp_events.waiting[row[:2]] = (books.now(), 1)
    assert "I26" in _invariants(evidence._replace(books=books))


def test_the_checks_see_an_epoch_that_goes_back(evidence: Evidence) -> None:
    """A commit under an earlier epoch than one before it shows."""
    fences = [*evidence.fences, (99.0, evidence.fences[0][1], 0, None)]
    assert "I20" in _invariants(evidence._replace(fences=fences))


def test_the_checks_see_what_is_left_in_the_queue(evidence: Evidence) -> None:
    """A message that nobody removed shows, and a bad one that nobody kept."""
    poison = [PoisonRecord(1, 0, "1-0", "poison")]
    assert {"I22", "I21"} <= _invariants(evidence._replace(queued=[(0, "1-0")], poison=poison))


def test_the_checks_see_an_answer_that_one_copy_held(evidence: Evidence) -> None:
    """Accepted before an owner took it in: sound with a replica, and not while that is frozen."""
    accepted = next(event for event in evidence.history.events if event.status == 202)
    began_s = accepted.at_ns / 1e9 - 1.0
    frozen = frozen_replicas([(began_s, began_s + 4.0)])
    later = frozen_replicas([(began_s + 60.0, began_s + 64.0)])
    assert "I28" in _invariants(evidence._replace(faults=frozen))
    assert "I28" not in _invariants(evidence._replace(faults=later))


def test_the_checks_see_two_answers_to_one_key(evidence: Evidence) -> None:
    """A final answer with other bytes than the first one shows."""
    history = evidence.history
    number, final = next(
        (number, event) for number, event in enumerate(history.events) if event.status == 201
    )
    changed = final._replace(body="something else", body_sha256="0" * 64)
    events = [*history.events[:number], changed, *history.events[number + 1 :]]
    doctored = replace(history, events=events)
    assert "I13" in _invariants(evidence._replace(history=doctored))


def test_one_seed_runs_in_this_process() -> None:
    """A run leaves nothing behind: neither tasks nor a changed log configuration."""
    assert run(draw(2)).violations == []
