"""What a block of the request log holds, as it is packed (``storage.request_blocks``)."""

from __future__ import annotations

import msgspec


class Head(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Version 1. New fields go to the end with a default."""

    number: bytes
    method: str
    route: str
    status: int
    code: str | None
    key: bytes | None
    duration_us: int


ENCODER = msgspec.msgpack.Encoder()
HEADS_DECODER = msgspec.msgpack.Decoder(list[Head])
BODIES_DECODER = msgspec.msgpack.Decoder(list[bytes])
