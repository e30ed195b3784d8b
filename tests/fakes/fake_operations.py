"""Operations and the payments they change, on the fake books: what a flush writes of them, and how they are read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from payments.accounts import wallet
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.operation_kinds import OperationKind
from payments.operation_rows import OperationRow
from payments.rows import ProgressRow, TimerKind, TransferKind
from payments.splits import Split
from payments.standing import PaymentStanding
from payments.state import OpenOrderRecord
from storage.operated_payments import open_operation_record, payment_standing
from storage.ports import Flush, OperatedPayments, OperationKey
from storage.read_ports import StoredOperation
from storage.stored_operations import stored_operation

if TYPE_CHECKING:
    from tests.fakes.fake_books import FakeBooks, OrderKey


def write_operations(books: FakeBooks, flush: Flush, at: datetime) -> None:
    """What the statement ``write_operations`` writes."""
    from tests.fakes.fake_books import FakeTimer

    for row in flush.operations:
        key = (row.partition_index, row.order_no)
        books.operations[key] = (row, at)
        books.operation_keys[row.operation_uuid] = key
        if row.is_open:
            status = PaymentState.PROCESSING if row.attempt_no else PaymentState.CREATED
            books.open_orders[key] = ProgressRow(
                *key, status, True, row.attempt_no, 0, None, None, None, None, None
            )
    for dispute in flush.disputes:
        books.disputes[dispute.partition_index, dispute.order_no] = dispute
    for standing in flush.standings:
        key = (standing.partition_index, standing.order_no)
        books.standings[key] = standing
        if not standing.is_held:
            books.timers.pop(key, None)
        elif standing.expires_in_ms is not None:
            due_at = at + timedelta(milliseconds=standing.expires_in_ms)
            books.timers[key] = FakeTimer(TimerKind.EXPIRE, due_at)


def operated_payments_in(
    books: FakeBooks, operations: Sequence[OperationKey], payments: Sequence[OrderKey]
) -> OperatedPayments:
    """The statement behind ``operated_payments``."""
    named = [books.order_keys.get(key.payment_uuid) for key in operations]
    wanted = [*(key for key in named if key is not None), *payments]
    known = {
        key.operation_uuid: books.operations[books.operation_keys[key.operation_uuid]][
            0
        ].fingerprint
        for key in operations
        if key.operation_uuid in books.operation_keys
    }
    return OperatedPayments(
        known, {key: standing_of(books, key) for key in wanted if key in books.orders}
    )


def standing_of(books: FakeBooks, key: OrderKey) -> PaymentStanding:
    """How a payment stands, by the rows of its order, its outcome and its standing."""
    order = books.orders[key]
    outcome, _ = books.outcomes.get(key, (None, None))
    stands = books.standings.get(key)
    running = books.open_orders.get(key)
    splits = books.splits_of(key)
    frozen_fee = outcome.fee_minor if outcome is not None and outcome.status == 5 else 0
    attempt = None if outcome is None else books.attempts.get((*key, outcome.attempt_no))
    stuck = [
        row
        for place in books.parked
        if place in books.operations and (row := books.operations[place][0]).payment_no == key[1]
    ]
    return payment_standing(
        {
            **order._asdict(),
            "psp": None if outcome is None else outcome.psp,
            "psp_account": "" if attempt is None else attempt[0].psp_account,
            "psp_reference": None if outcome is None else outcome.psp_reference,
            "status": (stands or outcome or running).status,  # type: ignore[union-attr]  # one of them is there
            "captured_minor": (
                stands.captured_minor
                if stands
                else (outcome.amount_captured_minor if outcome else 0)
            ),
            "refunded_minor": stands.refunded_minor if stands else 0,
            "fee_taken_minor": stands.fee_taken_minor if stands else frozen_fee,
            "disputed_minor": stands.disputed_minor if stands else 0,
            "event_sequence": (
                stands.event_sequence if stands else (outcome.event_sequence if outcome else 0)
            ),
            "operation_count": stands.operation_count if stands else 0,
            "parked_refund_minor": sum(
                row.amount_minor for row in stuck if row.kind == OperationKind.REFUND
            ),
            "parked_capture_minor": sum(
                row.amount_minor for row in stuck if row.kind == OperationKind.CAPTURE
            ),
            "disputes": json.dumps(
                [
                    (
                        *(no, row.reference, row.status, row.amount_minor, row.event_sequence),
                        _shares_minor(books, (index, no), len(splits)),
                    )
                    for (index, no), row in sorted(books.disputes.items())
                    if (index, row.payment_no) == key
                ]
            ),
            "splits": json.dumps(_split_standings(books, key, splits)),
            "is_turn_parked": any(row.kind != OperationKind.REFUND for row in stuck),
        }
    )


def _shares_minor(books: FakeBooks, key: OrderKey, part_count: int) -> list[int]:
    """What a dispute took of each part."""
    took = [books.transfers.get((*key, number)) for number in range(1, part_count + 1)]
    return [0 if found is None else found[0].amount_minor for found in took]


def _split_standings(
    books: FakeBooks, key: OrderKey, splits: Sequence[Split]
) -> list[tuple[int, ...]]:
    """How each part stands: told by the wallets, where the real statement goes by the steps."""
    index, order_no = key
    order = books.orders[key]
    numbers = {
        order_no,
        *(at[1] for at, (row, _) in books.operations.items() if (at[0], row.payment_no) == key),
        *(at[1] for at, row in books.disputes.items() if (at[0], row.payment_no) == key),
    }
    moved = [row for at, (row, _) in books.transfers.items() if at[0] == index and at[1] in numbers]
    found: list[tuple[int, ...]] = []
    for split in splits:
        named = wallet(order.merchant_no, Mode(order.mode), split.seller_no, order.currency)
        number = books.accounts.get((index, named))
        came: Counter[TransferKind] = Counter()
        for row in moved:
            if number in (row.debit_account_no, row.credit_account_no):
                came[TransferKind(row.kind)] += row.amount_minor
        found.append(
            (
                *split,
                came[TransferKind.CHARGE] + came[TransferKind.CAPTURE],
                came[TransferKind.REFUND],
                came[TransferKind.DISPUTE] - came[TransferKind.DISPUTE_WON],
                came[TransferKind.FEE],
            )
        )
    return found


def open_operation(books: FakeBooks, key: OrderKey, progress: ProgressRow) -> OpenOrderRecord:
    """What a new owner finds of an open operation."""
    row, taken_in_at = books.operations[key]
    attempt, created_at = books.attempts.get((*key, progress.attempt_no), (None, None))
    first = books.attempts.get((*key, 1))
    return open_operation_record(
        {
            **row._asdict(),
            **progress._asdict(),
            "taken_in_at": taken_in_at,
            "psp": None if attempt is None else attempt.psp,
            "psp_account": None if attempt is None else attempt.psp_account,
            "psp_key": None if attempt is None else attempt.psp_key,
            "epoch": None if attempt is None else attempt.epoch,
            "created_at": created_at,
            "tried_since": None if first is None else first[1],
            "event_sequence": max(event[2] for event in books.events if event[:2] == key),
            "has_timer": key in books.timers,
        },
        standing_of(books, (row.partition_index, row.payment_no)),
    )


def standings_of_open(books: FakeBooks, partition_index: int) -> list[PaymentStanding]:
    """The payments that a partition's open operations belong to."""
    numbers = {
        row.payment_no
        for key, (row, _) in books.operations.items()
        if key[0] == partition_index and key in books.open_orders and key not in books.parked
    }
    return [standing_of(books, (partition_index, payment_no)) for payment_no in sorted(numbers)]


def operations_of(books: FakeBooks, key: OrderKey) -> list[OperationRow]:
    """The operations on a payment, in the order of intake."""
    return [
        row
        for (partition_index, _), (row, _) in sorted(books.operations.items())
        if (partition_index, row.payment_no) == key
    ]


def present_columns(books: FakeBooks, key: OrderKey) -> dict[str, object]:
    """How a payment stands since its answer froze, as the real query's row shows it."""
    stands = books.standings.get(key)
    return {
        "present_status": stands.status if stands else None,
        "captured_minor": stands.captured_minor if stands else None,
        "refunded_minor": stands.refunded_minor if stands else None,
        "fee_taken_minor": stands.fee_taken_minor if stands else None,
        "operation_count": stands.operation_count if stands else None,
        "updated_at": books.now() if stands else None,
    }


def stored_operations(
    books: FakeBooks, keys: Sequence[tuple[int, UUID]]
) -> dict[UUID, StoredOperation]:
    """Return those operations that the books hold, by the real adapter's own rendering of a row."""
    found: dict[UUID, StoredOperation] = {}
    for partition_index, operation_uuid in keys:
        key = books.operation_keys.get(operation_uuid)
        if key is None or key[0] != partition_index:
            continue
        row, _ = books.operations[key]
        progress = books.open_orders.get(key)
        outcome, recorded_at = books.outcomes.get(key, (None, None))
        columns = {
            **row._asdict(),
            "payment_key": books.orders[partition_index, row.payment_no].idempotency_key,
            "open_status": None if progress is None else progress.status,
            "is_outcome_known": progress is None or progress.is_outcome_known,
            "next_retry_at": None if progress is None else progress.next_retry_at,
            "ended_status": None if outcome is None else outcome.status,
            "failure_code": None if outcome is None else outcome.failure_code,
            "decline_code": None if outcome is None else outcome.decline_code,
            "failure_message": None if outcome is None else outcome.failure_message,
            "effective_at": None if outcome is None else outcome.effective_at,
            "recorded_at": recorded_at,
        }
        found[operation_uuid] = stored_operation(columns)
    return found
