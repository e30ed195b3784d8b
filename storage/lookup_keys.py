"""Where orders and operations are kept: what look-ups by their identities take."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID


class OrderLookup(NamedTuple):
    """Where an order is kept: what look-ups take, and readers of one payment."""

    partition_index: int
    order_uuid: UUID


class OperationLookup(NamedTuple):
    """Where an operation is kept."""

    partition_index: int
    operation_uuid: UUID


LookupKey = OrderLookup | OperationLookup
"""What is looked up, by its class."""
