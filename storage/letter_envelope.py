"""A dead letter's bytes: the stream's fields as they were, in the versioned envelope of personal data."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from storage.sealing import DECODE_FAULTS, EnvelopeUnreadable, open_sealed, seal

_decoder = msgspec.msgpack.Decoder(tuple[bytes, ...])


def sealed_raw(raw: Sequence[bytes]) -> bytes:
    """Return a message's field names and values, alternating, as they are kept."""
    return seal(msgspec.msgpack.encode(tuple(raw)))


def opened_raw(envelope: bytes) -> tuple[bytes, ...] | None:
    """Return what ``sealed_raw`` kept, or None when this version can't read it."""
    try:
        return _decoder.decode(open_sealed(envelope))
    except (EnvelopeUnreadable, *DECODE_FAULTS):
        return None
