"""The envelope of personal data in the books: two bytes that say how to read the rest.

Versioned and with an encryption flag from the first day, so that encrypted rows can follow plain
ones without a migration of what is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from payments.commands import HostedPage, PaymentCommand
from runtime.faults import Fault

SCHEMA_VERSION = 1
# 0 = plain. Other flags will name a cipher and its key; a reader without them refuses the envelope.
ENCRYPTION_NONE = 0

# An unreadable envelope's detail names a limit or a path; more would be noise in a dead letter.
DETAIL_LENGTH_MAX = 200

# What msgspec raises on bytes from outside: also broken UTF-8, and nesting too deep for the stack.
DECODE_FAULTS = (msgspec.MsgspecError, ValueError, RecursionError)

_PLAIN_PREFIX = bytes((SCHEMA_VERSION, ENCRYPTION_NONE))


class EnvelopeUnreadable(Fault):
    """A message or an envelope that this version can't read: set it aside, never guess.

    ``reason`` is a word from a short list, for counting; ``detail`` says more. Both name fields,
    lengths and limits, never contents: they end up in logs.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail[:DETAIL_LENGTH_MAX]}")
        self.reason = reason
        self.detail = detail[:DETAIL_LENGTH_MAX]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """The personal part of an order, and the merchant id that its identity was derived from."""

    payment_method: str
    description: str | None
    buyer_json: str | None
    merchant_id: str
    hosted: HostedPage | None = None
    first_request: bytes | None = None
    """The request of the first attempt, which is written with the order; None where it has a row of its own."""


class _DetailBody(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Version 1. New fields go to the end with a default; readers skip what they don't know."""

    payment_method: str
    description: str | None
    buyer_json: str | None
    merchant_id: str
    hosted: tuple[str, str, str] | None = None
    first_request: bytes | None = None


_detail_encoder = msgspec.msgpack.Encoder()
_detail_decoder = msgspec.msgpack.Decoder(_DetailBody)


def seal(body: bytes) -> bytes:
    """Return the body in an envelope: a version byte, an encryption byte, the body."""
    return _PLAIN_PREFIX + body


def open_sealed(envelope: bytes) -> bytes:
    """Return the body of an envelope. Raises EnvelopeUnreadable for an unknown version or flag."""
    if len(envelope) < len(_PLAIN_PREFIX):
        raise EnvelopeUnreadable("envelope_malformed", f"{len(envelope)} bytes are no envelope")
    check_version(envelope[0], envelope[1])
    return envelope[len(_PLAIN_PREFIX) :]


def check_version(version: int, encryption_flag: int) -> None:
    """Raise EnvelopeUnreadable unless this version of the code can read such a body."""
    if version != SCHEMA_VERSION:
        raise EnvelopeUnreadable("version_unknown", f"version {version}, not {SCHEMA_VERSION}")
    if encryption_flag != ENCRYPTION_NONE:
        raise EnvelopeUnreadable("encryption_unknown", f"flag {encryption_flag} is not known")


def encode_detail(command: PaymentCommand, first_request: bytes | None = None) -> bytes:
    """Return the sealed personal part of a command, with its first attempt's request."""
    return seal(
        _detail_encoder.encode(
            _DetailBody(
                payment_method=command.payment_method,
                description=command.description,
                buyer_json=command.buyer_json,
                merchant_id=command.merchant_id,
                hosted=command.hosted,
                first_request=first_request,
            )
        )
    )


def decode_detail(envelope: bytes) -> Detail:
    """Return what ``encode_detail`` sealed. Raises EnvelopeUnreadable, and nothing else."""
    body = open_sealed(envelope)
    try:
        detail = _detail_decoder.decode(body)
    except DECODE_FAULTS as fault:
        raise EnvelopeUnreadable("payload_malformed", describe(fault)) from None
    return Detail(
        payment_method=detail.payment_method,
        description=detail.description,
        buyer_json=detail.buyer_json,
        merchant_id=detail.merchant_id,
        hosted=None if detail.hosted is None else HostedPage(*detail.hosted),
        first_request=detail.first_request,
    )


def describe(fault: Exception) -> str:
    """Return msgspec's own words (types and a path); of other exceptions the type alone."""
    return str(fault) if isinstance(fault, msgspec.MsgspecError) else type(fault).__name__
