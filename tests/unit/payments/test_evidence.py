"""Evidence ends its own attempt of an unknown outcome, or nothing at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.attempts import ResultClass
from payments.evidence import NOT_CHARGED_CODE, Evidence, EvidenceSource
from payments.lifecycle import PaymentState
from payments.open_order import CallAnswer
from payments.rows import EvidenceVerdict
from tests.scenario import BookWorld, Deed, an_order

ORDER = an_order(1)
CHARGED = Evidence(
    evidence_no=1,
    partition_index=0,
    order_no=1,
    attempt_no=1,
    source=EvidenceSource.OPERATOR,
    result=ResultClass.APPROVED,
    reference="ch_1",
    captured_minor=1999,
    currency="USD",
    effective_at=None,
)
NOT_CHARGED = CHARGED._replace(
    result=ResultClass.DECLINED_FINAL, reference=None, captured_minor=0, currency=None
)


def an_unknown(deed: Deed = Deed.CHARGE_SILENTLY) -> BookWorld:
    """One order whose PSP has said nothing."""
    world = BookWorld()
    world.post(ORDER)
    world.carry_out(world.calls[0], deed)
    assert not world.calls
    return world


def give(world: BookWorld, evidence: Evidence) -> tuple[int, str]:
    world.take(answers=[evidence.answer()])
    row = world.books.evidence.results[evidence.evidence_no]
    return row.result, row.detail


def test_charged_settles_the_order_with_its_money() -> None:
    """The order succeeds with the reference, and its transfers are made."""
    world = an_unknown()
    assert give(world, CHARGED) == (EvidenceVerdict.ACCEPTED, "")
    assert world.status_of(ORDER.order_uuid) is PaymentState.SUCCEEDED
    ((outcome, _),) = world.books.outcomes.values()
    assert (outcome.psp_reference, outcome.amount_captured_minor) == ("ch_1", 1999)
    assert world.books.transfers
    assert not world.books.timers


def test_not_charged_fails_the_order_and_nothing_is_sent_again() -> None:
    """No key of the order leaves after it, however much time passes and owners change."""
    world = an_unknown(Deed.VANISH)
    assert give(world, NOT_CHARGED) == (EvidenceVerdict.ACCEPTED, "")
    ((outcome, _),) = world.books.outcomes.values()
    assert outcome.status == PaymentState.FAILED
    assert outcome.failure_code == NOT_CHARGED_CODE
    for _ in range(3):
        world.wait(100_000)
        world.claim()
        assert not world.calls
    assert not world.books.transfers
    assert not world.psp.charges


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"attempt_no": 2}, "attempt 2"),
        ({"captured_minor": 1998}, "1998 USD"),
        ({"currency": "EUR"}, "1999 EUR"),
        ({"order_no": 7}, "not open"),
        ({"result": ResultClass.UNKNOWN}, "does not tell"),
        ({"result": ResultClass.REQUIRES_ACTION}, "does not tell"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], why: str) -> None:
    """Another attempt, amount, currency or order: a reason is kept, and the order stands as it stood."""
    world = an_unknown()
    before = dict(world.books.open_orders), dict(world.books.timers)
    result, detail = give(world, CHARGED._replace(**changes))
    assert result == EvidenceVerdict.REFUSED
    assert why in detail
    assert (world.books.open_orders, world.books.timers) == before
    assert not world.calls


def test_a_known_outcome_is_left_alone() -> None:
    """An order that waits for its buyer, or has ended, can't be ended by evidence."""
    world = BookWorld()
    world.post(ORDER)
    world.carry_out(world.calls[0], Deed.ASK_BUYER)
    assert give(world, NOT_CHARGED) == (EvidenceVerdict.REFUSED, "the outcome is not unknown")
    ended = an_unknown()
    give(ended, CHARGED)
    result, detail = give(ended, NOT_CHARGED._replace(evidence_no=2))
    assert (result, detail[:21]) == (EvidenceVerdict.REFUSED, "the order is not open")
    assert ended.status_of(ORDER.order_uuid) is PaymentState.SUCCEEDED


def test_the_first_evidence_counts_when_two_come_together() -> None:
    """In one batch the second one finds the order ended."""
    world = an_unknown()
    second = NOT_CHARGED._replace(evidence_no=2)
    world.take(answers=[CHARGED.answer(), second.answer()])
    results = {number: row.result for number, row in world.books.evidence.results.items()}
    assert results == {1: EvidenceVerdict.ACCEPTED, 2: EvidenceVerdict.REFUSED}


evidence = st.builds(
    Evidence,
    evidence_no=st.integers(1, 9),
    partition_index=st.just(0),
    order_no=st.integers(0, 3),
    attempt_no=st.integers(0, 3),
    source=st.sampled_from(EvidenceSource),
    result=st.sampled_from(ResultClass),
    reference=st.none() | st.text(max_size=5),
    captured_minor=st.sampled_from([0, 1998, 1999, 2000]),
    currency=st.sampled_from([None, "USD", "EUR"]),
    effective_at=st.none(),
)


@given(said=st.lists(evidence, max_size=6, unique_by=lambda one: one.evidence_no))
def test_random_evidence_never_ends_another_attempt(said: list[Evidence]) -> None:
    """Of two orders only the unknown one can end, by evidence of its own attempt, amount and currency."""
    world = an_unknown()
    world.post(an_order(2))
    answers: list[CallAnswer] = [one.answer() for one in said]
    decided = world.take(answers=answers)
    fitting = [
        one
        for one in said
        if (one.order_no, one.attempt_no) == (1, 1)
        and (
            one.result == ResultClass.DECLINED_FINAL
            or (one.result, one.captured_minor, one.currency) == (ResultClass.APPROVED, 1999, "USD")
        )
    ]
    assert set(decided.closed) == ({1} if fitting else set())
    assert not decided.calls
    assert not decided.attempts
    assert set(world.books.evidence.results) == {one.evidence_no for one in said}
    accepted = [
        row.evidence_no
        for row in world.books.evidence.results.values()
        if row.result == EvidenceVerdict.ACCEPTED
    ]
    assert accepted == [one.evidence_no for one in fitting[:1]]
