"""What a run of chaos with a mutant shows."""

from __future__ import annotations

import pytest

from loadtest.mutants.outcomes import ChaosRun, Outcome, in_order, judged, seen_by

VALID = ChaosRun(0, {"verdict": "valid"})
VIOLATED = ChaosRun(
    1,
    {
        "verdict": "violated",
        "reasons": ["I4: two charges of one key", "I13: half of it could not be read"],
        "checker": {
            "invariants": [
                {"invariant": "I4", "checked": 7, "violated": 1},
                {"invariant": "I5", "checked": 7, "violated": 0},
            ]
        },
    },
)


def test_a_violation_catches_a_mutant() -> None:
    """With the invariants that were violated, not those that were only checked, or not even that."""
    run = judged(VIOLATED, "load alone", 3.0)
    assert run.outcome is Outcome.CAUGHT
    assert run.seen_by == ("I4",)
    assert run.reason == "I4: two charges of one key"
    assert (run.scenario, run.seconds) == ("load alone", 3.0)


@pytest.mark.parametrize(
    ("run", "outcome"),
    [
        (VALID, Outcome.MISSED),
        (ChaosRun(3, {"verdict": "unknown", "reasons": ["not quiet"]}), Outcome.VOID),
        (ChaosRun(1, None), Outcome.VOID),
        (ChaosRun(1, {"verdict": "unknown"}), Outcome.VOID),
        (ChaosRun(2, {"verdict": "violated"}), Outcome.VOID),
        (ChaosRun(-9, None), Outcome.VOID),
        (ChaosRun(None, None), Outcome.VOID),
    ],
)
def test_only_a_violation_catches(run: ChaosRun, outcome: Outcome) -> None:
    """Neither an unknown verdict nor a run that failed for another reason shows anything."""
    assert judged(run, "load alone", 1.0).outcome is outcome


def test_invariants_are_found_where_a_document_has_them() -> None:
    """By a member's name, by where they stand; and the books' own verification."""
    document = {
        "reasons": ["I28: what was answered could not be read"],
        "verify": {"ok": False, "checks": [{"name": "chain", "violations": 1}]},
        "checker": {"I1": {"violated": 2}, "I2": {"violated": 0}, "rest": [{"I9": "I9"}]},
        "table": [{"name": "I13", "violations": ["one"]}, {"name": "I14", "violations": []}],
    }
    assert seen_by(document) == ("I1", "I13", "verify")
    assert seen_by({}) == seen_by({"verify": {"ok": False, "error": "not read"}}) == ()


def test_only_invariants_count_by_their_numbers() -> None:
    """What a simulation calls a defect, or stuck, is no invariant."""
    assert in_order({"I13", "defect", "I2", "stuck", "I29"}) == ("I2", "I13")
