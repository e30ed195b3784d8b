"""What the read side promises about lists of payments: the fake and Postgres alike."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from payments.mode import Mode
from storage.read_ports import CursorUnknown, PaymentFilter
from tests.contract.books_data import ACCEPTED_AT, EndSample, SampleOrder
from tests.contract.read_books import STATES, Books, books, sample_of

__all__ = ["books"]


async def listed(books: Books, mode: Mode = Mode.TEST, **wanted: Any) -> list[UUID]:
    page = await books.queries.list_payments(books.merchant_no, mode, PaymentFilter(**wanted))
    return [order.order_uuid for order in page.orders]


async def test_a_list_is_walked_newest_first_without_gaps(books: Books) -> None:
    """Page after page shows every payment once, newest first, also those of one millisecond."""
    seconds = [0, 1, 1, 1, 1, 2, 3]
    samples = [
        sample_of(
            books, partition_index=index % 3, accepted_at=ACCEPTED_AT + timedelta(seconds=second)
        )
        for index, second in enumerate(seconds)
    ]
    for sample in samples:
        await books.add(sample)
    expected = [
        sample.order_uuid
        for sample in sorted(
            samples, key=lambda s: (s.accepted_at, s.order_no, s.partition_index), reverse=True
        )
    ]
    walked: list[UUID] = []
    cursor: UUID | None = None
    for _ in range(4):
        page = await books.queries.list_payments(
            books.merchant_no, Mode.TEST, PaymentFilter(starting_after=cursor, count_max=2)
        )
        walked += [order.order_uuid for order in page.orders]
        cursor = walked[-1]
        assert page.has_more == (len(walked) < len(expected))
    assert walked == expected
    assert await listed(books, starting_after=cursor) == []


async def test_a_list_is_walked_back(books: Books) -> None:
    """ending_before gives the page just above the cursor, newest first, and tells of further ones."""
    samples = [
        sample_of(books, accepted_at=ACCEPTED_AT + timedelta(seconds=second)) for second in range(5)
    ]
    for sample in samples:
        await books.add(sample)
    newest_first = [sample.order_uuid for sample in reversed(samples)]
    wanted = PaymentFilter(ending_before=newest_first[3], count_max=2)
    page = await books.queries.list_payments(books.merchant_no, Mode.TEST, wanted)
    assert [order.order_uuid for order in page.orders] == newest_first[1:3]
    assert page.has_more
    wanted = PaymentFilter(ending_before=newest_first[2], count_max=2)
    page = await books.queries.list_payments(books.merchant_no, Mode.TEST, wanted)
    assert [order.order_uuid for order in page.orders] == newest_first[:2]
    assert not page.has_more


async def test_a_list_shows_whole_orders(books: Books) -> None:
    """An order in a list is the order that a read of its own returns."""
    samples = [sample_of(books, state=state, metadata={"k": "v"}) for state in STATES]
    for sample in samples:
        await books.add(sample)
    page = await books.queries.list_payments(books.merchant_no, Mode.TEST, PaymentFilter())
    assert list(page.orders) == [sample.stored() for sample in reversed(samples)]


async def test_filters_narrow_a_list(books: Books) -> None:
    """Each filter shows what it names and nothing else; several hold together."""
    plain = sample_of(books)
    euro = sample_of(books, currency="EUR", amount_minor=500, fee_minor=10)
    ended = sample_of(
        books, state=EndSample(), accepted_at=ACCEPTED_AT + timedelta(hours=1), metadata={"a": "1"}
    )
    tagged = sample_of(
        books, metadata={"a": "1", "b": "2"}, accepted_at=ACCEPTED_AT + timedelta(hours=2)
    )
    for sample in (plain, euro, ended, tagged):
        await books.add(sample)
    hour = ACCEPTED_AT + timedelta(hours=1)
    cases: list[tuple[dict[str, Any], list[SampleOrder]]] = [
        ({"status": "processing"}, [tagged, euro, plain]),
        ({"status": "succeeded"}, [ended]),
        ({"status": "failed"}, []),
        ({"currency": "EUR"}, [euro]),
        ({"created_gte": hour}, [tagged, ended]),
        ({"created_lt": hour}, [euro, plain]),
        ({"amount_gte_minor": 501}, [tagged, ended, plain]),
        ({"amount_lte_minor": 500}, [euro]),
        ({"amount_lte_minor": 0}, []),
        ({"metadata": {"a": "1"}}, [tagged, ended]),
        ({"metadata": {"a": "1", "b": "2"}}, [tagged]),
        ({"metadata": {"a": "2"}}, []),
        ({"metadata": {"a": "1"}, "status": "succeeded", "currency": "USD"}, [ended]),
        ({"status": "processing", "starting_after": ended.order_uuid}, [euro, plain]),
        ({"currency": "USD", "ending_before": plain.order_uuid}, [tagged, ended]),
    ]
    for wanted, expected in cases:
        assert await listed(books, **wanted) == [sample.order_uuid for sample in expected], wanted


async def test_merchants_and_modes_never_meet(books: Books) -> None:
    """A list shows one merchant's payments of one mode, and takes no other's payment as a cursor."""
    other_merchant_no, other_seller_no = await books.add_merchant()
    mine = sample_of(books)
    live = sample_of(books, mode=Mode.LIVE)
    others = sample_of(books, merchant_no=other_merchant_no, seller_no=other_seller_no)
    for sample in (mine, live, others):
        await books.add(sample)
    assert await listed(books) == [mine.order_uuid]
    assert await listed(books, mode=Mode.LIVE) == [live.order_uuid]
    for cursor in (live.order_uuid, others.order_uuid, uuid4()):
        with pytest.raises(CursorUnknown):
            await listed(books, starting_after=cursor)
        with pytest.raises(CursorUnknown):
            await listed(books, ending_before=cursor)
    assert await listed(books) == [mine.order_uuid]
