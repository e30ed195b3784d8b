"""What operations on a payment with splits, and its disputes, move: exact to each seller, and folding to nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from payments.accounts import AccountKey, dispute_hold, fee_income, psp_receivable, wallet
from payments.disputes import Dispute, DisputeState
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.operation_kinds import OperationKind
from payments.operations import Operation, done
from payments.rows import TransferKind
from payments.splits import (
    SPLITS_MAX,
    SPLITS_MIN,
    Split,
    SplitStanding,
    after_dispute,
    after_won,
    dispute_shares_minor,
)
from payments.standing import PaymentStanding
from payments.transfers import (
    OF_HOLDS,
    Effect,
    Movement,
    accounts_of,
    accounts_of_dispute,
    gross_minor,
    of_authorization,
    of_dispute,
    of_operation,
)
from tests.queue_commands import a_command

RECEIVABLE = psp_receivable(7, Mode.TEST, "psp", "USD")
HOLD = dispute_hold(7, Mode.TEST, "USD")
INCOME = fee_income(7, Mode.TEST, "USD")


@st.composite
def _parts(draw: st.DrawFn) -> tuple[Split, ...]:
    amounts = draw(
        st.lists(
            st.one_of(st.integers(1, 7), st.integers(1, 10**9)),
            min_size=SPLITS_MIN,
            max_size=SPLITS_MAX,
        )
    )
    return tuple(
        Split(seller_no, amount_minor, draw(st.integers(0, amount_minor)))
        for seller_no, amount_minor in enumerate(amounts, 1)
    )


def _held(splits: tuple[Split, ...]) -> PaymentStanding:
    """A payment that is authorized, and nothing of it captured."""
    command = a_command()
    return PaymentStanding(
        order_no=1,
        order_uuid=command.order_uuid,
        idempotency_key=command.idempotency_key,
        merchant_no=7,
        mode=Mode.TEST,
        seller_no=11,
        amount_minor=sum(split.amount_minor for split in splits),
        currency="USD",
        fee_minor=sum(split.fee_minor for split in splits),
        captures_manually=True,
        psp="psp",
        psp_account="",
        psp_reference="ch_1",
        status=PaymentState.REQUIRES_CAPTURE,
        captured_minor=0,
        refunded_minor=0,
        fee_taken_minor=0,
        disputed_minor=0,
        event_sequence=2,
        operation_count=0,
        splits=tuple(map(SplitStanding, splits)),
    )


def _operation(kind: OperationKind, amount_minor: int) -> Operation:
    return Operation(
        operation_uuid=UUID(int=1),
        kind=kind,
        payment_no=1,
        idempotency_key=UUID(int=2),
        merchant_no=7,
        mode=Mode.TEST,
        amount_minor=amount_minor,
        currency="USD",
        psp="psp",
        psp_account="",
        charge_reference="ch_1",
        fingerprint=b"",
        accepted_at=datetime(2026, 11, 23, tzinfo=UTC),
        api_version="2026-11-01",
        reply_to="",
    )


class _Books:
    """Folds movements: what is posted and what is pending on each account, credits less debits."""

    def __init__(self) -> None:
        self.posted: Counter[AccountKey] = Counter()
        self.pending: Counter[AccountKey] = Counter()

    def post(self, movements: list[Movement], allowed: Collection[AccountKey]) -> None:
        """Post one order's movements: each of something, by a step of its own, on accounts that were loaded."""
        assert len({moved.step for moved in movements}) == len(movements)
        for moved in movements:
            assert moved.amount_minor > 0
            assert {moved.debit, moved.credit} <= set(allowed)
            effect = OF_HOLDS.get(moved.kind, Effect(posted=1, pending=0))
            self.posted[moved.credit] += effect.posted * moved.amount_minor
            self.posted[moved.debit] -= effect.posted * moved.amount_minor
            self.pending[moved.credit] += effect.pending * moved.amount_minor
            self.pending[moved.debit] -= effect.pending * moved.amount_minor

    def agree(self, payment: PaymentStanding) -> None:
        """Whether every wallet is what the payment says of its part, and the rest follows from their sums."""
        for each in payment.splits:
            seller = wallet(7, Mode.TEST, each.split.seller_no, "USD")
            taken_minor = each.refunded_minor + each.disputed_minor + each.fee_taken_minor
            assert self.posted[seller] == each.captured_minor - taken_minor
            assert self.pending[seller] == (each.held_minor if payment.held_minor else 0)
        assert self.posted[INCOME] == payment.fee_taken_minor
        assert -self.pending[RECEIVABLE] == payment.held_minor
        for name in ("captured", "refunded", "disputed", "fee_taken"):
            parts_minor = [getattr(each, f"{name}_minor") for each in payment.splits]
            assert sum(parts_minor) == getattr(payment, f"{name}_minor")


@given(_parts(), st.data())
def test_each_wallet_is_what_its_part_came_to(
    splits: tuple[Split, ...], data: st.DataObject
) -> None:
    """Over captures, refunds, disputes in any order and the end of the hold, no wallet is a unit off."""
    payment, books = _held(splits), _Books()
    command = a_command(amount_minor=payment.amount_minor)
    command = command._replace(splits=splits, captures_manually=True)
    assert command.parts == payment.splits
    books.post(of_authorization(command, "psp"), accounts_of(command, "psp", None))
    books.agree(payment)
    disputes: list[Dispute] = []
    for _ in range(data.draw(st.integers(0, 8))):
        left_minor = payment.captured_minor - payment.refunded_minor
        match data.draw(st.sampled_from(["capture", "refund", "dispute", "won"])):
            case "capture" if payment.held_minor:
                amount_minor = data.draw(st.integers(1, payment.held_minor))
                payment = _done(books, OperationKind.CAPTURE, amount_minor, payment)
            case "refund" if left_minor:
                # Also of what a dispute has taken since the refund was let through.
                amount_minor = data.draw(st.integers(1, left_minor))
                payment = _done(books, OperationKind.REFUND, amount_minor, payment)
            case "dispute" if payment.captured_minor:
                amount_minor = data.draw(st.integers(1, payment.captured_minor))
                shares = tuple(dispute_shares_minor(payment.splits, amount_minor))
                disputes.append(Dispute(9, "dp", DisputeState.OPENED, amount_minor, 1, shares))
                books.post(of_dispute(disputes[-1], payment), accounts_of_dispute(payment))
                payment = payment._replace(
                    disputed_minor=payment.disputed_minor + amount_minor,
                    splits=after_dispute(payment.splits, shares),
                )
            case "won" if disputes:
                payment = _won(books, disputes.pop(), payment)
        books.agree(payment)
    if payment.held_minor:
        payment = _done(books, OperationKind.EXPIRY, payment.held_minor, payment)
        books.agree(payment)
    while disputes:
        lost = disputes.pop()._replace(state=DisputeState.LOST)
        books.post(of_dispute(lost, payment), accounts_of_dispute(payment))
    assert books.posted[HOLD] == 0
    assert sum(books.posted.values()) == sum(books.pending.values()) == 0
    owed_minor = payment.captured_minor - payment.refunded_minor - payment.disputed_minor
    assert -books.posted[RECEIVABLE] == owed_minor


def _done(
    books: _Books, kind: OperationKind, amount_minor: int, payment: PaymentStanding
) -> PaymentStanding:
    operation = _operation(kind, amount_minor)
    movements = of_operation(operation, payment)
    assert gross_minor(movements) == amount_minor
    books.post(movements, accounts_of(operation, "psp", payment))
    return done(operation, payment)


def _won(books: _Books, dispute: Dispute, payment: PaymentStanding) -> PaymentStanding:
    opened = of_dispute(dispute, payment)
    won = of_dispute(dispute._replace(state=DisputeState.WON), payment)
    assert not {moved.step for moved in opened} & {moved.step for moved in won}
    books.post(won, accounts_of_dispute(payment))
    return payment._replace(
        disputed_minor=payment.disputed_minor - dispute.amount_minor,
        splits=after_won(payment.splits, dispute.shares_minor),
    )


def test_a_share_of_nothing_makes_no_row_and_leaves_the_others_their_steps() -> None:
    """By example: one unit of 5, 5 and 5 is the first seller's alone; the next is the second's, by steps 3 and 4."""
    payment = _held((Split(1, 5, 5), Split(2, 5, 5), Split(3, 5, 0)))
    first = of_operation(_operation(OperationKind.CAPTURE, 1), payment)
    assert [(m.step, m.kind, m.amount_minor) for m in first] == [
        (1, TransferKind.CAPTURE, 1),
        (2, TransferKind.FEE, 1),
    ]
    payment = done(_operation(OperationKind.CAPTURE, 1), payment)
    second = of_operation(_operation(OperationKind.CAPTURE, 1), payment)
    assert [(m.step, m.kind, m.amount_minor) for m in second] == [
        (3, TransferKind.CAPTURE, 1),
        (4, TransferKind.FEE, 1),
    ]
