"""What ``python -m loadtest.poison`` says of its loads."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from loadtest.poison_figures import (
    KILLS,
    NONE,
    POISONS,
    RAISES,
    UNDECODABLE,
    Answered,
    Round,
    Run,
    balanced_orders,
    problems_of,
    summary,
    whole_ms,
)
from storage.envelope import accepted_at_ms

KINDS = (NONE, *POISONS)
REASONS = {UNDECODABLE: "payload_malformed", RAISES: "handler_defect", KILLS: "kills_host"}


def a_run(kind: str, *, p99_s: float = 0.010, letters: tuple[str, ...] | None = None) -> Run:
    """A hundred orders, one each 10 ms, the last two of them as slow as given; the poison after half a second."""
    if letters is None:
        letters = (REASONS[kind],) if kind in REASONS else ()
    return Run(
        kind,
        answered=[Answered(number / 100, 0.005 if number < 98 else p99_s) for number in range(100)],
        settled_s=[0.05] * 100,
        letters=list(letters),
        poisoned_at_s=None if kind == NONE else 0.5,
        letter_at_s=None if kind == NONE else 0.805,
    )


def a_round(**p99_s: float) -> Round:
    """One run of each kind; those named as slow as given."""
    return {kind: a_run(kind, p99_s=p99_s.get(kind, 0.010)) for kind in KINDS}


@pytest.mark.parametrize("kind", POISONS)
def test_one_letter_of_its_kind_and_no_loss_is_well(kind: str) -> None:
    """A run with its one letter passes; none, two, or one of another kind don't."""
    assert a_run(kind).problems(100) == []
    for letters in ((), (REASONS[kind], REASONS[kind]), ("another",)):
        (problem,) = a_run(kind, letters=letters).problems(100)
        assert "dead letters" in problem


def test_what_is_lost_open_or_charged_wrongly_is_told() -> None:
    """Fewer answers, fewer ended orders than were posted, and wrong charges are problems of their own."""
    run = a_run(NONE)
    run.answered.pop()
    run.lost_count = 1
    run.settled_s.pop()
    run.charged_wrongly_count = 2
    assert len(run.problems(100)) == 3


def test_more_ended_orders_than_were_posted_are_told() -> None:
    """An order that ends twice is as wrong as one that never does."""
    run = a_run(NONE)
    run.settled_s.append(0.05)
    (problem,) = run.problems(100)
    assert "101 of 100" in problem


def test_growth_is_compared_within_a_round_and_the_median_judged() -> None:
    """A round that was slow for all grows by nothing; one slow round of three is not the median."""
    slow = dict.fromkeys(KINDS, 0.020)
    rounds = [a_round(), a_round(**slow), a_round(kills_host=0.0125)]
    (line,) = [line for line in summary(rounds) if line["poison"] == KILLS]
    assert line["growths"] == [0.0, 0.0, pytest.approx(0.25, abs=0.01)]
    assert line["answer_p99_growth"] == 0.0
    assert problems_of(rounds, 100, is_judged=True) == []


def test_a_growth_of_a_fifth_is_too_much_where_it_is_judged() -> None:
    """The p99 may grow by less than a fifth; the short form tells it and doesn't judge."""
    rounds = [a_round(kills_host=0.0125)]
    (problem,) = problems_of(rounds, 100, is_judged=True)
    assert problem.startswith("kills_host")
    assert problems_of(rounds, 100, is_judged=False) == []


def test_orders_posted_until_the_letter_are_told_apart() -> None:
    """Those due between the poison and its letter are counted, with their own p99."""
    run = a_run(KILLS)
    document = run.document(a_run(NONE))
    assert document["until_letter_s"] == pytest.approx(0.305)
    assert document["orders_until_letter"] == 31
    assert document["answer_p99_until_letter_ms"] == 5.0


@pytest.mark.parametrize("count", [2, 3, 4])
def test_places_and_predecessors_are_balanced(count: int) -> None:
    """Over a whole square each kind has each place, and follows each other kind, equally often."""
    kinds = KINDS[:count]
    orders = balanced_orders(kinds, count * (2 if count % 2 else 1), seed=7)
    places = Counter((place, kind) for order in orders for place, kind in enumerate(order))
    follows = Counter(pair for order in orders for pair in pairwise(order))
    assert len(places) == count * count
    assert len(set(places.values())) == 1
    assert len(follows) == count * (count - 1)
    assert len(set(follows.values())) == 1


def test_orders_are_drawn_by_the_seed() -> None:
    """The same seed gives the same orders, any number of them; some other seed gives others."""
    ten = balanced_orders(KINDS, 10, seed=7)
    assert balanced_orders(KINDS, 10, seed=7) == ten
    assert balanced_orders(KINDS, 3, seed=7) == ten[:3]
    assert all(sorted(order) == sorted(KINDS) for order in ten)
    assert any(balanced_orders(KINDS, 10, seed=seed) != ten for seed in range(3))


def test_an_order_of_the_same_millisecond_belongs_to_the_load() -> None:
    """The gateway rounds an order's acceptance down, so its load's beginning must be rounded the same way."""
    began_at = datetime(2026, 3, 1, 12, 0, 0, 123_999, tzinfo=UTC)
    kept = datetime.fromtimestamp(accepted_at_ms(began_at) / 1_000, tz=UTC)
    assert whole_ms(began_at) == kept
    assert whole_ms(began_at + timedelta(microseconds=1)) > kept
