"""What ``python -m loadtest.poison`` says of a run."""

from __future__ import annotations

import pytest

from loadtest.poison import KILLS, NONE, RAISES, UNDECODABLE, Run


def a_run(kind: str, *, p99_s: float = 0.010, letters: tuple[str, ...] = ()) -> Run:
    """A hundred orders, the slowest two of them as given."""
    return Run(
        kind,
        answered_s=[0.005] * 98 + [p99_s] * 2,
        settled_s=[0.05] * 100,
        letters=list(letters),
    )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(UNDECODABLE, "payload_malformed"), (RAISES, "handler_defect"), (KILLS, "kills_host")],
)
def test_one_letter_of_its_kind_and_no_loss_is_well(kind: str, reason: str) -> None:
    """A run with its one letter passes; none, two, or one of another kind don't."""
    assert a_run(kind, letters=(reason,)).problems(100, 0.1) == []
    for letters in ((), (reason, reason), ("another",)):
        (problem,) = a_run(kind, letters=letters).problems(100, 0.1)
        assert "dead letters" in problem


def test_what_is_lost_or_open_is_told() -> None:
    """Fewer answers, or fewer ended orders, than were posted are problems of their own."""
    run = a_run(NONE)
    run.answered_s.pop()
    run.lost_count = 1
    run.settled_s.pop()
    assert len(run.problems(100, None)) == 2


def test_growth_is_judged_against_the_load_without_poison() -> None:
    """The p99 may grow by less than a fifth; the short form tells it and doesn't judge."""
    base, slower = a_run(NONE), a_run(NONE, p99_s=0.0125)
    growth = slower.document(base)["answer_p99_growth"]
    assert growth == pytest.approx(0.25, abs=0.01)
    assert slower.problems(100, None) == []
    assert len(slower.problems(100, growth)) == 1
    assert base.document(base)["answer_p99_growth"] == 0.0
