"""The names of everything on the queue's server, and nothing else may live there."""

from __future__ import annotations

from uuid import UUID

from payments.partitioning import partition_name


def stream_key(partition_index: int) -> bytes:
    """Return the partition's stream, ``{p017}:orders``. The braces keep a partition in one slot."""
    return b"{%s}:orders" % partition_name(partition_index).encode()


def record_key(partition_index: int, order_uuid: UUID) -> bytes:
    """Return the order's key record, ``{p017}:key:<order_uuid>``.

    A hash: ``f`` fingerprint, ``t`` accepted_at in milliseconds, ``i`` stream id, ``n`` how often
    it was asked for again. Every value is at most 64 bytes, so it stays one compact listpack.
    """
    name = partition_name(partition_index)
    return f"{{{name}}}:key:{order_uuid}".encode()


def reply_channel(gateway_id: str) -> str:
    """Return the channel on which a gateway hears of its orders."""
    return f"reply:{gateway_id}"
