from __future__ import annotations

from collections import Counter
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.defects import InvariantViolation
from payments.identity import order_uuid
from payments.mode import Mode
from payments.partitioning import (
    PARTITION_COUNT_MAX,
    ShardMap,
    ShardRange,
    partition_index,
    partition_name,
)
from tests.strategies import partition_counts, uuids


@given(order=uuids, partition_count=partition_counts)
def test_partition_is_the_first_eight_bytes(order: UUID, partition_count: int) -> None:
    """Gateways, hosts and auditors agree on an order's partition by a rule told in one line."""
    expected = int.from_bytes(order.bytes[:8], "big") % partition_count
    assert partition_index(order, partition_count) == expected


@pytest.mark.parametrize("partition_count", [3, 16, 64])
def test_orders_spread_evenly(partition_count: int) -> None:
    """No partition gets much more than its share, though all keys come from one busy merchant."""
    order_count = 6_400
    counts = Counter(
        partition_index(order_uuid("mrc_b", Mode.TEST, UUID(int=n)), partition_count)
        for n in range(order_count)
    )
    share = order_count / partition_count
    assert len(counts) == partition_count
    # Five standard deviations: the keys are fixed, so this passes always or never.
    assert max(abs(count - share) for count in counts.values()) < 5 * share**0.5


def test_partition_names_sort() -> None:
    """Names have three digits, so that keys and logs sort; more where there are more."""
    assert [partition_name(index) for index in (0, 17, 999, 1000)] == [
        "p000", "p017", "p999", "p1000",
    ]  # fmt: skip


def shards(*bounds: tuple[str, int, int]) -> tuple[ShardRange, ...]:
    """Return ranges from (name, first, end)."""
    return tuple(ShardRange(name=n, first_index=first, end_index=end) for n, first, end in bounds)


@given(cuts=st.sets(st.integers(1, 63)))
def test_every_partition_has_one_shard(cuts: set[int]) -> None:
    """However the partitions are cut, each is on the shard whose range holds it."""
    bounds = [0, *sorted(cuts), 64]
    ranges = shards(*((f"s{a}", a, b) for a, b in pairwise(bounds)))
    shard_map = ShardMap(partition_count=64, ranges=ranges)
    for index in range(64):
        (holder,) = [r.name for r in ranges if r.first_index <= index < r.end_index]
        assert shard_map.shard_of(index) == holder


def test_single_shard_holds_all() -> None:
    """The local stack has one shard, and a partition that doesn't exist is on none."""
    shard_map = ShardMap.single("main", 16)
    assert {shard_map.shard_of(index) for index in range(16)} == {"main"}
    for index in (-1, 16):
        with pytest.raises(InvariantViolation, match="partition_index"):
            shard_map.shard_of(index)


@pytest.mark.parametrize(
    ("partition_count", "ranges"),
    [
        (16, ()),
        (16, shards(("a", 0, 15))),
        (16, shards(("a", 0, 17))),
        (16, shards(("a", 1, 16))),
        (16, shards(("a", 0, 8), ("b", 9, 16))),
        (16, shards(("a", 0, 9), ("b", 8, 16))),
        (16, shards(("b", 8, 16), ("a", 0, 8))),
        (16, shards(("a", 0, 8), ("b", 8, 8), ("c", 8, 16))),
        (0, ()),
        (PARTITION_COUNT_MAX + 1, shards(("a", 0, PARTITION_COUNT_MAX + 1))),
    ],
)
def test_holes_and_overlaps_are_refused(
    partition_count: int, ranges: tuple[ShardRange, ...]
) -> None:
    """A map under which a partition has no shard, or two, can't be built."""
    with pytest.raises(InvariantViolation):
        ShardMap(partition_count=partition_count, ranges=ranges)
