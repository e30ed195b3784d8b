"""What the books hold of the orders, operations and payments that an owner asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from payments.standing import PaymentStanding


class SetAside(NamedTuple):
    """An order whose message is a dead letter."""

    dead_letter_no: int
    fingerprint: bytes | None
    """None when that part of the message can't be read either."""
    is_held: bool
    """Nothing but a replay may take it in, or nothing at all: it was discarded, or ends its host."""


class KnownOrders(NamedTuple):
    """What the books hold of the orders asked for, by order_uuid."""

    fingerprints: Mapping[UUID, bytes]
    set_aside: Mapping[UUID, SetAside]
    """Those that were set aside and not taken in since."""


class OperationKey(NamedTuple):
    """An operation that came, and the payment that it names."""

    partition_index: int
    operation_uuid: UUID
    payment_uuid: UUID


class OperatedPayments(NamedTuple):
    """What the books hold of operations and payments that were asked for."""

    fingerprints: Mapping[UUID, bytes]
    """Of the operations that were taken in before, by operation_uuid."""
    standings: Mapping[tuple[int, int], PaymentStanding]
    """By partition and number; a payment that has not ended yet stands as it was accepted."""
