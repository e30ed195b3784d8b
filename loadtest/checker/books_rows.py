"""Rows of the books, as storage/sql/recount.sql gives them, into records.

Numbers that the books store are names here, told once more: the product's own tables are what is
checked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from loadtest.checker.derivation import canonical_json
from loadtest.checker.records import (
    AccountRecord,
    AttemptRecord,
    BatchRecord,
    CheckoutOrderRecord,
    CheckoutRecord,
    DeadLetterRecord,
    DisputeRecord,
    EventRecord,
    OpenOrderRecord,
    OperationRecord,
    OrderId,
    OrderRecord,
    OutcomeRecord,
    PartitionRecord,
    RefusedRecord,
    SliceRecord,
    SnapshotRecord,
    SplitRecord,
    TransferRecord,
)

Row = Sequence[Any]

MODES = {1: "test", 2: "live"}
STATES = {
    1: "created",
    2: "processing",
    3: "requires_action",
    4: "requires_capture",
    5: "succeeded",
    6: "partially_captured",
    7: "failed",
    8: "canceled",
    9: "expired",
}
EVENTS = {
    number: f"payment_order.{name}"
    for number, name in {
        1: "created",
        2: "requires_action",
        3: "processing",
        4: "requires_capture",
        5: "succeeded",
        6: "partially_captured",
        7: "failed",
        8: "canceled",
        9: "expired",
    }.items()
}
EVENTS |= {
    50 + number: f"dispute.{name}" for number, name in {1: "opened", 2: "won", 3: "lost"}.items()
}
EVENTS |= {
    tens * 10 + ones: f"{kind}.{happened}"
    for tens, kind in {1: "capture", 2: "void", 3: "refund", 4: "expiry"}.items()
    for ones, happened in {1: "created", 2: "succeeded", 3: "failed"}.items()
}
ACCOUNT_KINDS = {
    1: "wallet",
    2: "psp_receivable",
    3: "fee_income",
    4: "bank",
    5: "psp_fee_expense",
    6: "payout_in_transit",
    7: "dispute_hold",
    8: "suspense",
    9: "slice_in_transit",
}
TRANSFER_KINDS = {
    1: "charge",
    2: "fee",
    3: "authorization",
    4: "capture",
    5: "release",
    6: "refund",
    7: "dispute",
    8: "dispute_lost",
    9: "dispute_won",
}
DISPUTE_STATES = {1: "opened", 2: "won", 3: "lost"}
OPERATION_KINDS = {1: "capture", 2: "void", 3: "refund", 4: "expiry"}


def books_records(tables: Mapping[str, Sequence[Row]]) -> dict[str, list[Any]]:
    """Return the members of ``Records`` that the books tell. Raises KeyError for a missing table."""
    reasons = {(row[0], row[1]): str(row[2]) for row in tables["parked_orders"]}
    makers: Mapping[str, Callable[[Row], object]] = {
        "orders": _order,
        "attempts": lambda row: AttemptRecord(*row),
        "outcomes": lambda row: OutcomeRecord(*_named(row, 3, STATES)),
        "open_orders": lambda row: _open_order(row, reasons),
        "accounts": lambda row: AccountRecord(*_named(_named(row, 3, MODES), 4, ACCOUNT_KINDS)),
        "transfers": lambda row: TransferRecord(*_named(row, 4, TRANSFER_KINDS)),
        "slices": lambda row: SliceRecord(*row),
        # Whose feed it is in comes behind, and is checked by nobody here.
        "events": lambda row: EventRecord(*_named(row[:5], 4, EVENTS)),
        "batches": lambda row: BatchRecord(*row),
        "partitions": lambda row: PartitionRecord(*row),
        "refused": lambda row: RefusedRecord(*row),
        "dead_letters": lambda row: DeadLetterRecord(*row),
    }
    records = {name: [make(row) for row in tables[name]] for name, make in makers.items()}
    # A run from before there were any has no such table.
    records["operations"] = [
        OperationRecord(*_named(row, 3, OPERATION_KINDS)) for row in tables.get("operations", ())
    ]
    records["splits"] = [SplitRecord(*row) for row in tables.get("splits", ())]
    records["disputes"] = [
        DisputeRecord(*_named(row, 3, DISPUTE_STATES)) for row in tables.get("disputes", ())
    ]
    records["checkouts"] = [
        CheckoutRecord(*_named(row, 2, MODES)) for row in tables.get("checkouts", ())
    ]
    records["checkout_orders"] = [
        CheckoutOrderRecord(*row) for row in tables.get("checkout_orders", ())
    ]
    return records


def snapshot_record(line: Mapping[str, Any]) -> SnapshotRecord:
    """Return a line of snapshots.jsonl as a record."""
    totals: Iterable[Row] = line["wallet_totals"]
    return SnapshotRecord(
        at_ns=int(line["at_ns"]),
        partitions=tuple(PartitionRecord(*row) for row in line["partitions"]),
        slices=tuple(SliceRecord(*row) for row in line["slices"]),
        wallets_minor={row[0]: int(row[1]) for row in totals},
        entries_minor={row[0]: int(row[2]) for row in totals},
    )


def _order(row: Row) -> OrderRecord:
    order = OrderRecord(*_named(row, 4, MODES))
    return order._replace(metadata=canonical_json(json.loads(order.metadata)))


def _open_order(row: Row, reasons: Mapping[OrderId, str]) -> OpenOrderRecord:
    order = OpenOrderRecord(*_named(row, 2, STATES))
    reason = reasons.get((order.partition_index, order.order_no), order.reason)
    return order._replace(reason=reason)


def _named(row: Row, place: int, names: Mapping[int, str]) -> list[Any]:
    """Return the row with the number at ``place`` as its name; an unknown one stays a number."""
    number = row[place]
    return [*row[:place], names.get(number, f"number {number}"), *row[place + 1 :]]
