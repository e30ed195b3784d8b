"""The names of everything on the queue's server, and nothing else may live there."""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

from payments.partitioning import PARTITION_COUNT_MAX, partition_name


@lru_cache(maxsize=PARTITION_COUNT_MAX)
def stream_key(partition_index: int) -> bytes:
    """Return the partition's stream, ``{p017}:orders``. The braces keep a partition in one slot."""
    return b"{%s}:orders" % partition_name(partition_index).encode()


def record_key(partition_index: int, order_uuid: UUID) -> bytes:
    """Return the order's key record, ``{p017}:key:<order_uuid>``.

    A hash: ``f`` fingerprint, ``t`` accepted_at in milliseconds, ``i`` stream id, ``n`` how often
    it was asked for again. Every value is at most 64 bytes, so it stays one compact listpack.
    """
    return _record_key_start(partition_index) + str(order_uuid).encode()


@lru_cache(maxsize=PARTITION_COUNT_MAX)
def _record_key_start(partition_index: int) -> bytes:
    return b"{%s}:key:" % partition_name(partition_index).encode()


def reply_channel(gateway_id: str) -> str:
    """Return the channel on which a gateway hears of its orders."""
    return f"reply:{gateway_id}"
