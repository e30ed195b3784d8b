"""Blocks of the request log: requests of one merchant and mode, packed together.

A row for each request, with its two indexes, cost the books a fifth of what they write for a payment. So what
one gateway notes within a moment is one row: its Request-Ids' range and four bytes of each idempotency key to
search by, everything else compressed. Bodies are packed apart from heads, because operators see these alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from payments.mode import Mode
from storage.request_heads import BODIES_DECODER, ENCODER, HEADS_DECODER, Head
from storage.request_rows import LoggedRequest
from storage.sealing import open_sealed, seal

# Compressing so many takes less than a millisecond, and most that repeats has done so within them.
BLOCK_COUNT_MAX = 128
# Bodies of one block, before they are compressed: 2 kB for each of many requests.
BLOCK_BYTES_MAX = 256 * 1024
# Who looks for one request unpacks every block whose range holds it, so a range is short: a request that was
# held for half a minute has a block with others of its time.
BLOCK_SPAN_MS = 2_000
KEY_PRINT_BYTES = 4

_LEVEL = 1
_TIME_SHIFT = 80  # a UUIDv7 begins with milliseconds


class RequestBlock(NamedTuple):
    """One row, in the order of its table's columns after the slot."""

    first_no: UUID
    """The lowest Request-Id's number, and the highest."""
    last_no: UUID
    merchant_no: int
    mode: Mode
    request_count: int
    key_prints: bytes
    """The beginning of each idempotency key, one behind the other: what it lacks is not in the block."""
    heads: bytes
    bodies: bytes
    """Sealed."""


# By numbers: a UUID of Python's compares in Python, and thousands are put in order at once.
_place = attrgetter("merchant_no", "mode", "request_no.int")
_whose = attrgetter("merchant_no", "mode")


def key_print(key: UUID) -> bytes:
    """Return what a block says of an idempotency key. Its last bytes: the first may be a time."""
    return key.bytes[-KEY_PRINT_BYTES:]


def blocks_of(rows: Sequence[LoggedRequest]) -> Iterator[RequestBlock]:
    """Pack requests of any merchants; each block by itself, so that others get their turn in between."""
    for _, group in groupby(sorted(rows, key=_place), key=_whose):
        yield from map(_block, _parts(group))


def requests_of(
    merchant_no: int, mode: Mode, heads: bytes, bodies: bytes | None
) -> list[LoggedRequest]:
    """Return what a block holds, oldest first. Without ``bodies`` each has an empty one.

    Raises EnvelopeUnreadable for an envelope of another version.
    """
    unpacked = HEADS_DECODER.decode(zlib.decompress(heads))
    said = (
        [b""] * len(unpacked)
        if bodies is None
        else BODIES_DECODER.decode(zlib.decompress(open_sealed(bodies)))
    )
    return [
        LoggedRequest(
            request_no=UUID(bytes=head.number),
            merchant_no=merchant_no,
            mode=mode,
            method=head.method,
            route=head.route,
            status=head.status,
            code=head.code,
            idempotency_key=None if head.key is None else UUID(bytes=head.key),
            duration_us=head.duration_us,
            bodies=text,
        )
        for head, text in zip(unpacked, said, strict=True)
    ]


def _parts(rows: Iterator[LoggedRequest]) -> Iterator[list[LoggedRequest]]:
    part: list[LoggedRequest] = []
    size = until = 0
    for row in rows:
        number = row.request_no.int
        if part and (
            number >= until
            or len(part) >= BLOCK_COUNT_MAX
            or size + len(row.bodies) > BLOCK_BYTES_MAX
        ):
            yield part
            part, size = [], 0
        if not part:
            until = ((number >> _TIME_SHIFT) + BLOCK_SPAN_MS) << _TIME_SHIFT
        part.append(row)
        size += len(row.bodies)
    if part:
        yield part


def _block(rows: Sequence[LoggedRequest]) -> RequestBlock:
    first = rows[0]
    keys = [row.idempotency_key for row in rows]
    heads = [
        Head(
            number=row.request_no.bytes,
            method=row.method,
            route=row.route,
            status=row.status,
            code=row.code,
            key=None if key is None else key.bytes,
            duration_us=row.duration_us,
        )
        for row, key in zip(rows, keys, strict=True)
    ]
    return RequestBlock(
        first_no=first.request_no,
        last_no=rows[-1].request_no,
        merchant_no=first.merchant_no,
        mode=first.mode,
        request_count=len(rows),
        key_prints=b"".join(key_print(key) for key in keys if key is not None),
        heads=zlib.compress(ENCODER.encode(heads), _LEVEL),
        bodies=seal(zlib.compress(ENCODER.encode([row.bodies for row in rows]), _LEVEL)),
    )
