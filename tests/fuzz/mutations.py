"""Small changes to bytes and to lists of bytes: what a coverage-guided fuzzer makes its inputs by."""

from __future__ import annotations

import random
from collections.abc import Sequence

# Where decoders look twice: ends of ranges, separators, and MessagePack's marks of long things.
TOKENS = (
    b"", b"\x00", b"\xff", b"|", b"-", b"0", b"1", b"2", b"9" * 15, b"test", b"live", b"\xc0", b"\xc3", b"\x90",
    b"\xdc\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
    b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\x00" * 7, b"\xcb\x7f\xf0" + b"\x00" * 6, b"\xdf\xff\xff\xff\xff",
)  # fmt: skip
# A doubling that went on for ever would only measure how fast bytes are copied.
LENGTH_MAX = 300_000


def changed_bytes(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Return the bytes with one change; ``other`` lends a piece."""
    start = chance.randint(0, len(data))
    end = min(len(data), start + chance.choice((0, 1, 1, 2, 4, 16)))
    match chance.randrange(6):
        case 0:
            middle = chance.randbytes(end - start)
        case 1:
            middle = chance.choice(TOKENS)
        case 2:
            middle = bytes(byte ^ (1 << chance.randrange(8)) for byte in data[start:end])
        case 3:
            middle = b""
        case 4:
            middle = data[start:end] * chance.choice((2, 3, 64))
        case _:
            from_ = chance.randint(0, len(other))
            middle = other[from_ : from_ + chance.choice((1, 4, 32))]
    return (data[:start] + middle + data[end:])[:LENGTH_MAX]


def changed_fields(
    chance: random.Random, fields: Sequence[bytes], other: Sequence[bytes]
) -> tuple[bytes, ...]:
    """Return a list of fields with one of them changed, or their order or number."""
    changed = list(fields)
    at = chance.randint(0, len(changed))
    match chance.randrange(10):
        case 0:
            del changed[at : at + chance.choice((1, 2))]
        case 1:
            changed[at:at] = other[at : at + 2]
        case 2:
            changed[at:at] = changed[at : at + 2]
        case 3:
            changed = [*changed[:at], *other[at:]]
        case _ if changed:
            at = min(at, len(changed) - 1)
            lent = chance.choice(other) if other else b""
            changed[at] = changed_bytes(chance, changed[at], lent)
        case _:
            changed = list(other)
    return tuple(changed[:64])
