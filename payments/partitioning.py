"""Which partition an order belongs to, and which Postgres shard holds a partition."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from uuid import UUID

from payments.defects import InvariantViolation

# A partition is a stream, a lease line and a row locked at every flush. At 4,096 the supervisor's
# view of them is still one query of a few milliseconds; a busy wallet costs a slice row in each.
PARTITION_COUNT_MAX = 4096


def partition_index(order_uuid: UUID, partition_count: int) -> int:
    """Return the order's partition: its first 8 bytes, big endian, modulo ``partition_count``.

    The same for ever: the count is fixed when a deployment is created.
    """
    return (order_uuid.int >> 64) % partition_count


def partition_name(index: int) -> str:
    """Return the partition's name in Redis keys and logs: ``p017``."""
    return f"p{index:03d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRange:
    """Partitions ``first_index <= index < end_index`` live on the shard ``name``."""

    name: str
    first_index: int
    end_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardMap:
    """Which shard holds which partitions. A shard may hold several ranges.

    Raises InvariantViolation unless the ranges, in order, cover 0..partition_count exactly once:
    a partition on no shard stops its orders, a partition on two shards forks its book.
    """

    partition_count: int
    ranges: tuple[ShardRange, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.partition_count <= PARTITION_COUNT_MAX:
            raise InvariantViolation(
                f"partition_count={self.partition_count} is outside 1..{PARTITION_COUNT_MAX}"
            )
        next_index = 0
        for shard in self.ranges:
            if shard.first_index != next_index or shard.end_index <= shard.first_index:
                raise InvariantViolation(
                    f"shard {shard.name!r} holds {shard.first_index}..{shard.end_index},"
                    f" but the next partition to place is {next_index}"
                )
            next_index = shard.end_index
        if next_index != self.partition_count:
            raise InvariantViolation(
                f"the shards hold {next_index} partitions of {self.partition_count}"
            )

    @classmethod
    def single(cls, name: str, partition_count: int) -> ShardMap:
        """Return the map of a deployment with one shard."""
        whole = ShardRange(name=name, first_index=0, end_index=partition_count)
        return cls(partition_count=partition_count, ranges=(whole,))

    def shard_of(self, partition_index: int) -> str:
        """Return the shard's name. Raises InvariantViolation for an index that does not exist."""
        if not 0 <= partition_index < self.partition_count:
            raise InvariantViolation(
                f"partition_index={partition_index} is outside 0..{self.partition_count - 1}"
            )
        position = bisect_right(self.ranges, partition_index, key=lambda shard: shard.first_index)
        return self.ranges[position - 1].name
