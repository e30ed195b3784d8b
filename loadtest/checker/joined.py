"""The records of a run, joined by what they have in common. Built once, read by every check."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, TypeVar

import msgspec

from loadtest.checker.records import (
    AccountRecord,
    AttemptRecord,
    BatchRecord,
    ChargeRecord,
    ClientEvent,
    ClientKey,
    DisputeRecord,
    EventRecord,
    EventType,
    OpenOrderRecord,
    OperationRecord,
    OpKind,
    OrderId,
    OrderRecord,
    OutcomeRecord,
    PartitionRecord,
    Records,
    SplitRecord,
    TransferRecord,
)

K = TypeVar("K")
V = TypeVar("V")

CAPTURED = "captured"


class Op(NamedTuple):
    """One operation of a client. ``end`` is None when the run ended before it did."""

    invoke: ClientEvent
    end: ClientEvent | None

    @property
    def type(self) -> EventType:
        return EventType.INFO if self.end is None else self.end.type

    @property
    def is_acknowledged(self) -> bool:
        """Whether it was answered 2xx, or 402: either says that the order was taken in."""
        return self.end is not None and self.end.type is EventType.OK


class Joined:
    """Look-ups over one run's records."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self._documents: dict[str, Mapping[str, object]] = {}
        self._texts = {
            event.body_sha256: event.body
            for event in records.history
            if event.body and event.body_sha256
        }

    @cached_property
    def ops(self) -> Sequence[Op]:
        """Every operation, in the order of invocation."""
        ends: dict[int, ClientEvent] = {}
        invokes: list[ClientEvent] = []
        for event in self.records.history:
            if event.type is EventType.INVOKE:
                invokes.append(event)
            else:
                ends[event.op] = event
        return [Op(invoke, ends.get(invoke.op)) for invoke in invokes]

    @cached_property
    def posts(self) -> Mapping[ClientKey, Sequence[Op]]:
        """The POSTs of each key, in the order of invocation."""
        return grouped((key_of(op.invoke), op) for op in self.ops if op.invoke.kind is OpKind.POST)

    @cached_property
    def gets(self) -> Mapping[ClientKey, Sequence[Op]]:
        """The reads of each key, in the order of invocation."""
        return grouped((key_of(op.invoke), op) for op in self.ops if op.invoke.kind is OpKind.GET)

    @cached_property
    def merchants(self) -> frozenset[str]:
        """The merchants that the load acted for: of others nothing is known."""
        return frozenset(op.invoke.merchant for op in self.ops)

    @cached_property
    def orders_by_key(self) -> Mapping[ClientKey, Sequence[OrderRecord]]:
        return grouped(((row.merchant, row.mode, row.key), row) for row in self.records.orders)

    @cached_property
    def order_by_id(self) -> Mapping[OrderId, OrderRecord]:
        return {id_of(row): row for row in self.records.orders}

    @cached_property
    def splits(self) -> Mapping[OrderId, Sequence[SplitRecord]]:
        """The parts of each order of several sellers, in their order."""
        rows = sorted(self.records.splits, key=lambda row: row.position)
        return grouped((id_of(row), row) for row in rows)

    @cached_property
    def operation_by_id(self) -> Mapping[OrderId, OperationRecord]:
        """Captures, voids, refunds and expiries, by their own numbers."""
        return {id_of(row): row for row in self.records.operations}

    @cached_property
    def operations(self) -> Mapping[OrderId, Sequence[OperationRecord]]:
        """The operations on each payment, in the order of intake."""
        rows = sorted(self.records.operations, key=lambda row: row.order_no)
        return grouped(((row.partition_index, row.payment_no), row) for row in rows)

    @cached_property
    def dispute_by_id(self) -> Mapping[OrderId, DisputeRecord]:
        """Disputes, by their own numbers."""
        return {id_of(row): row for row in self.records.disputes}

    def done(self, payment: OrderId, *kinds: str) -> int:
        """What the operations of these kinds moved of a payment, by their outcomes."""
        return sum(
            outcome.amount_captured_minor
            for row in self.operations.get(payment, ())
            if row.kind in kinds
            for outcome in self.outcomes.get(id_of(row), ())
        )

    def booked(self, outcome: OutcomeRecord) -> OutcomeRecord:
        """Return a payment's outcome with what operations captured since its answer froze."""
        captured_minor = outcome.amount_captured_minor + self.done(id_of(outcome), "capture")
        return outcome._replace(amount_captured_minor=captured_minor)

    @cached_property
    def refused(self) -> Mapping[str, frozenset[str]]:
        """The fingerprints refused late, by order_uuid."""
        rows = grouped((row.order_uuid, row.fingerprint) for row in self.records.refused)
        return {order: frozenset(found) for order, found in rows.items()}

    @cached_property
    def attempts(self) -> Mapping[OrderId, Sequence[AttemptRecord]]:
        """Each order's attempts, by number."""
        rows = sorted(self.records.attempts, key=lambda row: row.attempt_no)
        return grouped((id_of(row), row) for row in rows)

    @cached_property
    def attempt_by_key(self) -> Mapping[str, Sequence[AttemptRecord]]:
        return grouped((row.psp_key, row) for row in self.records.attempts)

    @cached_property
    def outcomes(self) -> Mapping[OrderId, Sequence[OutcomeRecord]]:
        return grouped((id_of(row), row) for row in self.records.outcomes)

    @cached_property
    def open_orders(self) -> Mapping[OrderId, Sequence[OpenOrderRecord]]:
        return grouped((id_of(row), row) for row in self.records.open_orders)

    @cached_property
    def events(self) -> Mapping[OrderId, Sequence[EventRecord]]:
        """Each order's events, by sequence."""
        rows = sorted(self.records.events, key=lambda row: row.sequence)
        return grouped((id_of(row), row) for row in rows)

    @cached_property
    def transfers(self) -> Mapping[OrderId, Sequence[TransferRecord]]:
        """Each order's transfers, by step."""
        rows = sorted(self.records.transfers, key=lambda row: row.step)
        return grouped((id_of(row), row) for row in rows)

    @cached_property
    def account_by_id(self) -> Mapping[tuple[int, int], AccountRecord]:
        return {(row.partition_index, row.account_no): row for row in self.records.accounts}

    @cached_property
    def batches(self) -> Mapping[int, Sequence[BatchRecord]]:
        """Each partition's batches, in the order in which the ledger wrote them."""
        return grouped((row.partition_index, row) for row in self.records.batches)

    @cached_property
    def charges_by_psp_key(self) -> Mapping[str, Sequence[ChargeRecord]]:
        return grouped((row.psp_key, row) for row in self.records.charges)

    @cached_property
    def partition_by_index(self) -> Mapping[int, PartitionRecord]:
        return {row.partition_index: row for row in self.records.partitions}

    def document(self, end: ClientEvent) -> Mapping[str, object]:
        """What checks look at in the JSON object answered; empty when it was none, or was not kept."""
        name = end.body_sha256 or end.body
        found = self._documents.get(name)
        if found is None:
            found = self._documents[name] = _parsed(
                end.body or self._texts.get(end.body_sha256, "")
            )
        return found

    def shown(self, end: ClientEvent) -> Mapping[str, object]:
        """The payment that an answer shows: a problem of a failed one holds it as ``payment``."""
        document = self.document(end)
        inner = document.get("payment")
        return inner if isinstance(inner, dict) else document


def grouped(pairs: Iterable[tuple[K, V]]) -> Mapping[K, Sequence[V]]:
    """Return the values of each key, in the order in which they came."""
    groups: defaultdict[K, list[V]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return dict(groups)


def key_of(event: ClientEvent) -> ClientKey:
    return event.merchant, event.mode, event.key


def id_of(
    row: OrderRecord
    | AttemptRecord
    | OutcomeRecord
    | OpenOrderRecord
    | OperationRecord
    | DisputeRecord
    | EventRecord
    | SplitRecord
    | TransferRecord,
) -> OrderId:
    return row.partition_index, row.order_no


# What checks look at. The rest of an answer is not kept: there are hundreds of thousands of them.
_MEMBERS = frozenset(
    {
        *("id", "status", "outcome", "attempts", "amount", "amount_captured", "currency"),
        *("seller", "fee", "psp", "psp_reference", "code", "balances", "payment"),
        "is_payment_done",
    }
)


def _parsed(text: str) -> Mapping[str, object]:
    try:
        document = msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return {}
    return _parsed_object(document) if isinstance(document, dict) else {}


def _parsed_object(document: Mapping[str, object]) -> Mapping[str, object]:
    kept = dict(_kept(document))
    if isinstance(rows := document.get("data"), list):
        kept["ids"] = [row.get("id") for row in rows if isinstance(row, dict)]
    for name in ("orders", "splits"):
        if isinstance(rows := document.get(name), list):
            kept[name] = [_kept(row) for row in rows if isinstance(row, dict)]
    for inner in ("payment", "capture", "void", "refund"):
        if isinstance(shown := document.get(inner), dict):
            kept[inner] = _parsed_object(shown)
    return kept


def _kept(document: Mapping[str, object]) -> Mapping[str, object]:
    return {name: value for name, value in document.items() if name in _MEMBERS}
