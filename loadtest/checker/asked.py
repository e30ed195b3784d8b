"""What clients asked to be done to payments, and in checkouts, joined with the books' rows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loadtest.checker.joined import Joined, Op, grouped, id_of, key_of
from loadtest.checker.records import (
    OPERATIONS,
    AskedOrder,
    CheckoutOrderRecord,
    CheckoutRecord,
    ClientEvent,
    ClientKey,
    EventType,
    OperationRecord,
    OpKind,
)

FROZEN_STATUSES = frozenset({201, 402, 409, 422})


class OperationKey(NamedTuple):
    """What names one capture, void or refund for its storefront."""

    merchant: str
    mode: str
    payment: str
    """The payment's key."""
    kind: str
    key: str

    @property
    def of_payment(self) -> ClientKey:
        return self.merchant, self.mode, self.payment


class Asked:
    """Look-ups over the operations and checkouts of one run. Built by a check, for itself."""

    def __init__(self, joined: Joined) -> None:
        self._joined = joined
        ops = joined.ops
        self.operations: Mapping[OperationKey, Sequence[Op]] = grouped(
            (operation_key(op.invoke), op) for op in ops if op.invoke.kind in OPERATIONS
        )
        """The POSTs of each operation, in the order of invocation."""
        self.checkouts: Mapping[ClientKey, Sequence[Op]] = grouped(
            (key_of(op.invoke), op) for op in ops if op.invoke.kind is OpKind.CHECKOUT
        )
        """The POSTs of each checkout, in the order of invocation."""

    def rows(self) -> Mapping[OperationKey, Sequence[OperationRecord]]:
        """Return the books' operations that storefronts may have asked for, by what names them."""
        pairs = []
        for row in self._joined.records.operations:
            order = self._joined.order_by_id.get((row.partition_index, row.payment_no))
            if order is not None and row.key and row.kind in OPERATIONS:
                name = OperationKey(order.merchant, order.mode, order.key, row.kind, row.key)
                pairs.append((name, row))
        return grouped(pairs)

    def checkout_rows(self) -> Mapping[ClientKey, Sequence[CheckoutRecord]]:
        """Return the books' checkouts by their keys."""
        return grouped(
            ((row.merchant, row.mode, row.key), row) for row in self._joined.records.checkouts
        )

    def checkout_order_rows(self) -> Mapping[str, Sequence[CheckoutOrderRecord]]:
        """Return the orders that the books keep of each checkout, by its uuid."""
        return grouped((row.checkout_uuid, row) for row in self._joined.records.checkout_orders)

    def shown(self, op: Op) -> Mapping[str, object]:
        """Return the operation that an answer shows, or nothing: a problem holds it by its kind."""
        if op.end is None or op.type is not EventType.OK:
            return {}
        document = self._joined.document(op.end)
        inner = document.get(op.invoke.kind)
        return inner if isinstance(inner, dict) else document

    def is_done(self, row: OperationRecord) -> bool | None:
        """Whether an operation was done; None where it has not ended."""
        outcomes = self._joined.outcomes.get(id_of(row), ())
        return outcomes[0].status == "succeeded" if outcomes else None


def operation_key(event: ClientEvent) -> OperationKey:
    return OperationKey(event.merchant, event.mode, event.payment, event.kind, event.key)


def asked_orders(joined: Joined) -> Mapping[ClientKey, Sequence[tuple[AskedOrder, Op]]]:
    """Return the orders that checkouts ask for, each with the request that does."""
    return grouped(
        ((op.invoke.merchant, op.invoke.mode, order.key), (order, op))
        for op in joined.ops
        if op.invoke.kind is OpKind.CHECKOUT
        for order in op.invoke.orders
    )
