"""The door's decision table, row by row."""

from __future__ import annotations

from itertools import product
from uuid import uuid4

import pytest

from gateway.idempotency import (
    AppendState,
    BooksState,
    Evidence,
    Verdict,
    decide,
    is_unproven,
)
from payments.fingerprint import fingerprint
from payments.mode import Mode
from storage.read_ports import StoredOrder
from tests.contract.books_data import EndSample, OpenSample, SampleOrder

KEY = b"k" * 32
OWN = fingerprint(
    {"amount": 1, "currency": "USD", "seller": "slr_a", "payment_method": "tok_approve"}, KEY
)
OTHER = fingerprint(
    {"amount": 2, "currency": "USD", "seller": "slr_a", "payment_method": "tok_approve"}, KEY
)

NOTHING_KNOWN = Evidence(
    fingerprint=OWN,
    append=AppendState.NONE,
    is_durable=False,
    books=BooksState.NONE,
    order=None,
    is_past_deadline=False,
)


def _order(own_fingerprint: bytes, *, is_frozen: bool) -> StoredOrder:
    sample = SampleOrder(
        merchant_no=1,
        seller_no=1,
        seller_id="slr_a",
        order_no=1,
        mode=Mode.TEST,
        order_uuid=uuid4(),
        state=EndSample() if is_frozen else OpenSample(),
    )
    return sample.stored()._replace(fingerprint=own_fingerprint)


N, A, B = AppendState, BooksState, Verdict


@pytest.mark.parametrize(
    ("append", "is_durable", "books", "verdict"),
    [
        # Nothing from one side yet: wait.
        (N.NONE, False, A.NONE, None),
        (N.NONE, False, A.ABSENT, None),
        (N.NONE, False, A.UNAVAILABLE, None),
        # On its way to the copies: wait, whatever the books don't know.
        (N.NEW, False, A.ABSENT, None),
        (N.SAME, False, A.ABSENT, None),
        (N.NEW, False, A.UNAVAILABLE, None),
        # On every copy: the books have to be asked, unless they can't be.
        (N.NEW, True, A.NONE, None),
        (N.NEW, True, A.ABSENT, B.ACCEPTED),
        (N.SAME, True, A.ABSENT, B.ACCEPTED),
        (N.NEW, True, A.UNAVAILABLE, B.ACCEPTED_DEFERRED),
        (N.SAME, True, A.UNAVAILABLE, B.ACCEPTED_DEFERRED),
        # 422 only after the books were asked, and once the other body is on every copy.
        (N.OTHER, False, A.NONE, None),
        (N.OTHER, False, A.ABSENT, None),
        (N.OTHER, True, A.NONE, None),
        (N.OTHER, True, A.ABSENT, B.REUSED),
        (N.OTHER, True, A.UNAVAILABLE, B.UNDECIDED_KEY),
        # Lost with a copy of the queue, and another body stands there now: only the books can tell.
        (N.LOST, False, A.NONE, None),
        (N.LOST, False, A.ABSENT, None),
        (N.LOST, False, A.UNAVAILABLE, None),
        # Not queued: the books may still hold the order.
        (N.FULL, False, A.NONE, None),
        (N.FULL, False, A.ABSENT, B.BACKPRESSURE),
        (N.FULL, False, A.UNAVAILABLE, B.BACKPRESSURE),
        (N.UNAVAILABLE, False, A.NONE, None),
        (N.UNAVAILABLE, False, A.ABSENT, B.UNPROVEN),
        (N.UNAVAILABLE, False, A.UNAVAILABLE, B.UNPROVEN),
    ],
)
def test_orders_that_the_books_do_not_hold(
    append: AppendState, is_durable: bool, books: BooksState, verdict: Verdict | None
) -> None:
    """A request is accepted only when proven and new to the books, and refused only when sure."""
    evidence = NOTHING_KNOWN._replace(append=append, is_durable=is_durable, books=books)
    assert decide(evidence) is verdict


@pytest.mark.parametrize(
    ("append", "is_durable", "books", "verdict"),
    [
        (N.NONE, False, A.NONE, B.UNPROVEN),
        (N.NEW, False, A.ABSENT, B.UNPROVEN),
        (N.SAME, False, A.NONE, B.UNPROVEN),
        (N.NEW, True, A.NONE, B.ACCEPTED_DEFERRED),
        (N.OTHER, False, A.ABSENT, B.UNPROVEN),
        (N.OTHER, True, A.NONE, B.UNDECIDED_KEY),
        (N.LOST, False, A.ABSENT, B.UNPROVEN),
        (N.FULL, False, A.NONE, B.BACKPRESSURE),
        (N.UNAVAILABLE, False, A.NONE, B.UNPROVEN),
    ],
)
def test_the_deadline_ends_every_wait(
    append: AppendState, is_durable: bool, books: BooksState, verdict: Verdict
) -> None:
    """Past the deadline, what is not proven is never answered 2xx."""
    evidence = NOTHING_KNOWN._replace(
        append=append, is_durable=is_durable, books=books, is_past_deadline=True
    )
    assert decide(evidence) is verdict


@pytest.mark.parametrize(
    ("first", "is_frozen", "verdict"),
    [
        (OWN, False, B.RUNNING),
        (OWN, True, B.FROZEN),
        (OTHER, False, B.REUSED),
        (OTHER, True, B.REUSED),
    ],
)
def test_the_books_decide_whatever_the_queue_says(
    first: bytes, is_frozen: bool, verdict: Verdict
) -> None:
    """An order in the books is the first under its key, before, after and without an append."""
    order = _order(first, is_frozen=is_frozen)
    for append, is_durable, is_past in product(AppendState, (False, True), (False, True)):
        evidence = NOTHING_KNOWN._replace(
            append=append,
            is_durable=is_durable,
            books=BooksState.HELD,
            order=order,
            is_past_deadline=is_past,
        )
        assert decide(evidence) is verdict


def test_only_what_is_unproven_waits_whatever_the_books_lack() -> None:
    """The queue's word alone tells that nothing can be decided yet; of all the rest something may be."""
    unheld = set(BooksState) - {BooksState.HELD}
    for append, is_durable in product(AppendState, (False, True)):
        known = NOTHING_KNOWN._replace(append=append, is_durable=is_durable)
        verdicts = [decide(known._replace(books=books)) for books in unheld]
        assert (set(verdicts) == {None}) is is_unproven(append, is_durable=is_durable)


def test_past_the_deadline_there_is_always_a_verdict() -> None:
    """No mix of answers leaves a request without one."""
    for append, books, is_durable in product(
        AppendState, set(BooksState) - {BooksState.HELD}, (False, True)
    ):
        evidence = NOTHING_KNOWN._replace(
            append=append, books=books, is_durable=is_durable, is_past_deadline=True
        )
        verdict = decide(evidence)
        assert verdict is not None
        if verdict in (Verdict.ACCEPTED, Verdict.ACCEPTED_DEFERRED):
            assert is_durable
