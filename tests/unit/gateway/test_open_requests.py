"""What a request learns from the queue, and when it no longer believes the books."""

from __future__ import annotations

import asyncio

import pytest

from gateway.idempotency import AppendState, BooksState
from gateway.open_requests import LOOKUP_STALE_S, OpenRequest
from payments.fingerprint import fingerprint
from storage.queue_ports import AppendResult, AppendStatus
from tests.queue_commands import an_entry

BODY = {"amount": 5, "currency": "USD", "seller": "slr_a", "payment_method": "tok_approve"}
OWN = an_entry()._replace(fingerprint=fingerprint(BODY, bytes(32)))
ANOTHERS = fingerprint({**BODY, "amount": 6}, bytes(32))


def _result(status: AppendStatus, fingerprint: bytes = OWN.fingerprint) -> AppendResult:
    return AppendResult(status, fingerprint, OWN.accepted_at_ms, "1-0")


@pytest.fixture
async def request_in_doubt() -> OpenRequest:
    """A request of which the books knew nothing at second 10."""
    request = OpenRequest(OWN, deadline_s=15.0, future=asyncio.get_running_loop().create_future())
    request.books, request.lookup_at_s = BooksState.ABSENT, 10.0
    return request


def test_the_first_append_decides_with_what_the_books_said(request_in_doubt: OpenRequest) -> None:
    """An append that took no longer than usual needs no second look into the books."""
    request_in_doubt.appended(_result(AppendStatus.DUPLICATE, ANOTHERS), 10.01)
    assert request_in_doubt.append is AppendState.OTHER
    assert request_in_doubt.books is BooksState.ABSENT


def test_a_body_that_was_queued_is_never_refused_by_the_queue_alone(
    request_in_doubt: OpenRequest,
) -> None:
    """Its record is lost and another body's stands there: an owner may have read it, so the books decide."""
    request_in_doubt.appended(_result(AppendStatus.NEW), 10.01)
    request_in_doubt.appended(_result(AppendStatus.DUPLICATE, ANOTHERS), 10.1)
    assert request_in_doubt.append is AppendState.LOST
    assert request_in_doubt.books is BooksState.NONE
    assert not request_in_doubt.is_proof_wanted
    assert not request_in_doubt.settle(is_past_deadline=False)


def test_an_append_that_is_run_again_asks_the_books_again(request_in_doubt: OpenRequest) -> None:
    """What the books did not hold before the connection was lost, they may hold now."""
    request_in_doubt.appended(_result(AppendStatus.NEW), 10.01)
    request_in_doubt.appended(_result(AppendStatus.NEW), 10.1)
    assert request_in_doubt.append is AppendState.NEW
    assert request_in_doubt.books is BooksState.NONE


def test_an_old_look_into_the_books_does_not_count(request_in_doubt: OpenRequest) -> None:
    """Who stood in line while the queue was away is not accepted on what the books said before."""
    request_in_doubt.appended(_result(AppendStatus.NEW), 10.01 + LOOKUP_STALE_S)
    assert request_in_doubt.books is BooksState.NONE
