"""What the read side promises about orders, transfers and wallets: the fake and Postgres alike."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from payments.answer import frozen_answer
from payments.identity import batch_id, transfer_id
from payments.mode import Mode
from runtime.faults import StorageUnavailable
from storage.read_ports import Balance, PaymentFilter, StoredOrder, TransferRecord
from tests.contract.books_data import RECORDED_AT, EndSample, OpenSample, SampleSlice
from tests.contract.read_books import STATES, Books, books, sample_of

__all__ = ["books"]


@pytest.mark.parametrize("state", STATES)
async def test_an_order_reads_as_it_stands(books: Books, state: OpenSample | EndSample) -> None:
    """Whatever happened to an order, its view tells exactly that, and frozen means ended."""
    sample = sample_of(books, state=state, metadata={"zz": "1", "b": "x y", "cart": "ü"})
    await books.add(sample)
    assert await books.queries.orders([sample.key]) == {sample.order_uuid: sample.stored()}


async def test_only_known_orders_come_back(books: Books) -> None:
    """Of a batch of keys exactly those in the books come back, also when a key is named twice."""
    samples = [sample_of(books, partition_index=index) for index in (0, 5, 15)]
    for sample in samples:
        await books.add(sample)
    unknown = [(index, uuid4()) for index in range(16)]
    keys = [*unknown, *(sample.key for sample in samples), samples[0].key]
    found = await books.queries.orders(keys)
    assert found == {sample.order_uuid: sample.stored() for sample in samples}
    assert await books.queries.known_orders(keys) == found.keys()
    assert await books.queries.orders([]) == {}
    assert not await books.queries.known_orders([])
    assert not await books.queries.known_orders(unknown)
    assert await books.queries.orders(unknown) == {}


async def test_an_order_is_found_in_its_own_partition_alone(books: Books) -> None:
    """A key under another partition is another order: nothing is found."""
    sample = sample_of(books, partition_index=4)
    await books.add(sample)
    assert await books.queries.orders([(5, sample.order_uuid)]) == {}
    assert not await books.queries.known_orders([(5, sample.order_uuid)])


async def test_a_frozen_answer_is_the_same_every_time(books: Books) -> None:
    """The answer rendered from the books has the same bytes at every read."""
    sample = sample_of(books, state=EndSample(), metadata={"zebra": "1", "a": "2"})
    await books.add(sample)
    answers = set()
    for _ in range(3):
        found: StoredOrder = (await books.queries.orders([sample.key]))[sample.order_uuid]
        answers.add(frozen_answer(found.view))
    assert answers == {frozen_answer(sample.stored().view)}


async def test_transfers_have_readable_names(books: Books) -> None:
    """A charge reads as its ledger rows in order, with accounts that people can read."""
    sample = sample_of(books, state=EndSample(), partition_index=6)
    records = [
        TransferRecord(
            transfer_id=transfer_id(6, sample.order_no, step),
            kind=kind,
            debit_account=debit,
            credit_account=credit,
            amount_minor=amount_minor,
            currency="USD",
            created_at=RECORDED_AT,
            batch=batch_id(6, 7),
        )
        for step, kind, debit, credit, amount_minor in (
            (1, "charge", "psp_receivable:simulator", "wallet:slr_shoes", 1999),
            (2, "fee", "wallet:slr_shoes", "fee_income", 88),
        )
    ]
    await books.add_charge(sample, records)
    assert list(await books.queries.transfers(*sample.key)) == records


async def test_an_order_without_money_has_no_transfers(books: Books) -> None:
    """An unknown order and one that moved no money have no transfers."""
    sample = sample_of(books)
    await books.add(sample)
    assert list(await books.queries.transfers(*sample.key)) == []
    assert list(await books.queries.transfers(3, uuid4())) == []


async def test_a_wallet_is_the_sum_of_its_slices(books: Books) -> None:
    """Balances add up over all partitions: credits raise them, and a hold lowers what can be spent."""
    await books.add_wallet(
        [
            SampleSlice(partition_index=0, credits_posted_minor=2**53 - 1, debits_posted_minor=88),
            SampleSlice(partition_index=9, credits_posted_minor=1_000, debits_pending_minor=300),
            SampleSlice(partition_index=12, credits_pending_minor=50),
            SampleSlice(partition_index=9, currency="EUR", debits_posted_minor=40),
        ],
        [
            Balance(currency="EUR", posted_minor=-40, pending_minor=0, available_minor=-40),
            Balance(
                currency="USD",
                posted_minor=2**53 - 1 - 88 + 1_000,
                pending_minor=-250,
                available_minor=2**53 - 1 - 88 + 1_000 - 300,
            ),
        ],
    )
    wallet = await books.queries.wallet(books.merchant_no, Mode.TEST, books.seller_no)
    assert list(wallet.balances) == [
        Balance(currency="EUR", posted_minor=-40, pending_minor=0, available_minor=-40),
        Balance(
            currency="USD",
            posted_minor=9007199254741903,
            pending_minor=-250,
            available_minor=9007199254741603,
        ),
    ]
    live = await books.queries.wallet(books.merchant_no, Mode.LIVE, books.seller_no)
    assert list(live.balances) == []


async def test_a_wallet_may_exceed_what_one_slice_holds(books: Books) -> None:
    """The sum of full slices is read exactly, though no slice could hold it."""
    full_minor = 2**63 - 1
    total_minor = 3 * full_minor
    expected = Balance(
        currency="USD", posted_minor=total_minor, pending_minor=0, available_minor=total_minor
    )
    await books.add_wallet(
        [
            SampleSlice(partition_index=index, credits_posted_minor=full_minor)
            for index in (0, 5, 12)
        ],
        [expected],
    )
    wallet = await books.queries.wallet(books.merchant_no, Mode.TEST, books.seller_no)
    assert list(wallet.balances) == [expected]


async def test_a_wallet_that_never_moved_is_empty(books: Books) -> None:
    """A wallet without money has no balances, and still tells the moment it was read at."""
    wallet = await books.queries.wallet(books.merchant_no, Mode.TEST, books.seller_no)
    assert list(wallet.balances) == []
    assert wallet.as_of.utcoffset() == timedelta(0)


async def test_an_unreachable_store_is_a_fault(books: Books) -> None:
    """Without Postgres every read raises StorageUnavailable: "not found" is never guessed."""
    await books.queries.orders([(0, uuid4())])
    await books.break_down()
    queries = books.queries
    with pytest.raises(StorageUnavailable):
        await queries.orders([(0, uuid4())])
    with pytest.raises(StorageUnavailable):
        await queries.known_orders([(0, uuid4())])
    with pytest.raises(StorageUnavailable):
        await queries.list_payments(books.merchant_no, Mode.TEST, PaymentFilter())
    with pytest.raises(StorageUnavailable):
        await queries.transfers(0, uuid4())
    with pytest.raises(StorageUnavailable):
        await queries.wallet(books.merchant_no, Mode.TEST, books.seller_no)
