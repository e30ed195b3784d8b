"""The payload of a payment command: what ``storage.envelope`` packs into field ``p``."""

from __future__ import annotations

import msgspec

# One request body is at most 64 KiB; escaped to ASCII, JSON text grows threefold at worst. The rest
# of a payload is small.
PAYLOAD_BYTES_MAX = 256 * 1024


class Payload(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Field ``p``, version 1. New fields go to the end with a default; readers skip others."""

    idempotency_key: bytes
    merchant_id: str
    seller_no: int
    amount_minor: int
    currency: str
    fee_minor: int
    payment_method: str
    description: str | None
    buyer_json: str | None
    metadata_json: str | None
    api_version: str
    captures_manually: bool = False
    hosted: tuple[str, str, str] | None = None
    # Whoever does not know them has refused the fingerprint's version before.
    splits: tuple[tuple[int, int, int], ...] | None = None


PAYLOAD_ENCODER = msgspec.msgpack.Encoder()
PAYLOAD_DECODER = msgspec.msgpack.Decoder(Payload)
