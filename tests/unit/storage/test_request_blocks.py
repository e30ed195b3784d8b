"""Blocks of the request log: whatever goes in comes out, and no block is larger or longer than it may be."""

from __future__ import annotations

from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from payments.mode import Mode
from storage.request_blocks import (
    BLOCK_BYTES_MAX,
    BLOCK_COUNT_MAX,
    BLOCK_SPAN_MS,
    KEY_PRINT_BYTES,
    blocks_of,
    key_print,
    requests_of,
)
from storage.request_rows import LoggedRequest


def row(
    at_ms: int,
    merchant_no: int = 1,
    mode: Mode = Mode.TEST,
    key: UUID | None = None,
    bodies: bytes = b"{}",
) -> LoggedRequest:
    """A request that came at this time."""
    number = UUID(int=at_ms << 80 | uuid4().int >> 48)
    return LoggedRequest(
        request_no=number,
        merchant_no=merchant_no,
        mode=mode,
        method="POST",
        route="/v1/payments",
        status=202,
        code=None,
        idempotency_key=key,
        duration_us=12,
        bodies=bodies,
    )


ROWS = st.lists(
    st.builds(
        row,
        at_ms=st.one_of(st.integers(0, 100), st.integers(0, 30_000)),
        merchant_no=st.integers(1, 2),
        mode=st.sampled_from(list(Mode)),
        key=st.one_of(st.none(), st.uuids(version=4)),
        bodies=st.sampled_from([b"{}", b'{"request":null,"answer":null}', b"x" * 100_000]),
    ),
    max_size=40,
)


@given(rows=ROWS)
def test_what_is_packed_is_there_again(rows: list[LoggedRequest]) -> None:
    """Every request once, in a block of its own merchant and mode whose range and prints hold it."""
    found: list[LoggedRequest] = []
    for block in blocks_of(rows):
        held = requests_of(block.merchant_no, block.mode, block.heads, block.bodies)
        numbers = [each.request_no for each in held]
        assert numbers == sorted(numbers)
        assert (numbers[0], numbers[-1]) == (block.first_no, block.last_no)
        assert len(held) == block.request_count <= BLOCK_COUNT_MAX
        assert (numbers[-1].int >> 80) - (numbers[0].int >> 80) < BLOCK_SPAN_MS
        assert len(held) == 1 or sum(len(each.bodies) for each in held) <= BLOCK_BYTES_MAX
        keys = [each.idempotency_key for each in held if each.idempotency_key is not None]
        assert len(block.key_prints) == KEY_PRINT_BYTES * len(keys)
        assert all(key_print(key) in block.key_prints for key in keys)
        found += held
    assert sorted(found) == sorted(rows)


def test_heads_say_all_but_the_bodies() -> None:
    """Operators' rights end before the bodies, and everything else is told without them."""
    logged = row(5, key=uuid4(), bodies=b'{"request":1}')
    (block,) = blocks_of([logged])
    assert requests_of(1, Mode.TEST, block.heads, None) == [logged._replace(bodies=b"")]


def test_a_crowd_is_a_few_small_blocks() -> None:
    """A gateway's half second is packed into a fraction of its size."""
    rows = [row(at, key=uuid4(), bodies=b'{"request":{"amount":1999}}' * 10) for at in range(1_000)]
    blocks = list(blocks_of(rows))
    assert len(blocks) == 8
    packed = sum(len(block.heads) + len(block.bodies) + len(block.key_prints) for block in blocks)
    assert packed < 0.2 * sum(len(each.bodies) + 40 for each in rows)
