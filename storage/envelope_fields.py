"""The fields that all messages on the stream have: written, and read back with distrust (storage.envelope)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

import msgspec

from payments.defects import caused_by
from payments.fingerprint import FINGERPRINT_BYTES
from payments.mode import Mode
from storage.command_rules import NUMBER_MAX, REPLY_TO, REPLY_TO_BYTES_MAX
from storage.sealing import (
    DECODE_FAULTS,
    ENCRYPTION_NONE,
    SCHEMA_VERSION,
    EnvelopeUnreadable,
    check_version,
    describe,
)
from storage.uuids import canonical_uuid

T = TypeVar("T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# The last millisecond that a datetime can hold.
_ACCEPTED_AT_MS_MAX = 253_402_300_799_999
_ACCEPTED_AT_DIGITS_MAX = len(str(_ACCEPTED_AT_MS_MAX))
_MERCHANT_AND_MODE = re.compile(rb"([1-9][0-9]{0,9})\|(test|live)")
_VERSION_AND_FLAG = re.compile(rb"([0-9]{1,3})\|([0-9]{1,3})")
# The longest reply channel; a merchant's number and mode are shorter.
_CACHED_BYTES_MAX = REPLY_TO_BYTES_MAX
VERSION_AND_FLAG_NOW = b"%d|%d" % (SCHEMA_VERSION, ENCRYPTION_NONE)


class EnvelopeHeader(NamedTuple):
    """What can be read of a message without its payload; None for each part that can't."""

    kind: bytes | None
    merchant_no: int | None
    mode: Mode | None
    order_uuid: UUID | None
    fingerprint: bytes | None
    accepted_at: datetime | None
    reply_to: str | None


class MerchantsRequest(Protocol):
    """What a payment, an operation and a checkout have in common."""

    @property
    def merchant_no(self) -> int: ...
    @property
    def mode(self) -> Mode: ...
    @property
    def fingerprint(self) -> bytes: ...
    @property
    def reply_to(self) -> str: ...


class WholeHeader(NamedTuple):
    """A header of which every part can be read."""

    kind: bytes | None
    merchant_no: int
    mode: Mode
    order_uuid: UUID
    fingerprint: bytes
    accepted_at: datetime
    reply_to: str


def merchants_fields(
    kind: bytes, asked: MerchantsRequest, key: UUID, at_ms: int, payload: bytes
) -> tuple[bytes, ...]:
    """Return the fields of what a merchant asked for under a name of ours, ready for XADD."""
    return (
        b"c", kind,
        b"m", _merchant_and_mode_field(asked.merchant_no, asked.mode),
        b"k", str(key).encode(),
        b"f", asked.fingerprint,
        b"v", VERSION_AND_FLAG_NOW,
        b"t", b"%d" % at_ms,
        b"r", asked.reply_to.encode(),
        b"p", payload,
    )  # fmt: skip


@lru_cache(maxsize=4_096)
def _merchant_and_mode_field(merchant_no: int, mode: Mode) -> bytes:
    return b"%d|%s" % (merchant_no, mode.wire.encode())


def accepted_at_ms(accepted_at: datetime) -> int:
    """Return whole milliseconds since 1970 of an aware datetime, rounded down."""
    return (accepted_at - _EPOCH) // _MILLISECOND


def read_header(raw: Sequence[bytes]) -> EnvelopeHeader:
    """Return what can be read without the payload. Never raises: damaged parts are None."""
    return header_of(by_name(raw))


def header_of(fields: Mapping[bytes, bytes]) -> EnvelopeHeader:
    """Return what ``read_header`` does, of fields by name."""
    merchant_no, mode = _merchant_and_mode(fields.get(b"m", b"")[: _CACHED_BYTES_MAX + 1])
    fingerprint = fields.get(b"f", b"")
    return EnvelopeHeader(
        kind=fields.get(b"c"),
        merchant_no=merchant_no,
        mode=mode,
        order_uuid=canonical_uuid(fields.get(b"k", b"").decode("latin-1")),
        fingerprint=fingerprint if len(fingerprint) == FINGERPRINT_BYTES else None,
        accepted_at=_accepted_at(fields.get(b"t", b"")),
        reply_to=_reply_to(fields.get(b"r", b"\0")[: _CACHED_BYTES_MAX + 1]),
    )


def whole_header(header: EnvelopeHeader) -> WholeHeader:
    """Return a merchant's header, whole. Raises EnvelopeUnreadable, naming the first field that can't be read."""
    if header.merchant_no is None or header.mode is None:
        raise EnvelopeUnreadable("field_unreadable", "m")
    if header.order_uuid is None:
        raise EnvelopeUnreadable("field_unreadable", "k")
    if header.fingerprint is None:
        raise EnvelopeUnreadable("field_unreadable", "f")
    if header.accepted_at is None:
        raise EnvelopeUnreadable("field_unreadable", "t")
    if header.reply_to is None:
        raise EnvelopeUnreadable("field_unreadable", "r")
    return WholeHeader(
        header.kind,
        header.merchant_no,
        header.mode,
        header.order_uuid,
        header.fingerprint,
        header.accepted_at,
        header.reply_to,
    )


# The same few merchants and gateways write nearly all messages. Longer texts than any of theirs are cut
# before they get here: they stay unreadable, and can't fill the memory.
@lru_cache(maxsize=4_096)
def _merchant_and_mode(raw: bytes) -> tuple[int, Mode] | tuple[None, None]:
    match = _MERCHANT_AND_MODE.fullmatch(raw)
    if match is None or int(match[1]) > NUMBER_MAX:
        return None, None
    mode = Mode.parse(match[2].decode())
    return (None, None) if mode is None else (int(match[1]), mode)


@lru_cache(maxsize=4_096)
def _reply_to(raw: bytes) -> str | None:
    return None if REPLY_TO.fullmatch(raw) is None else raw.decode()


def stated_version(stated: bytes) -> None:
    """Raise EnvelopeUnreadable unless this version of the code can read what field ``v`` names."""
    if stated == VERSION_AND_FLAG_NOW:
        return
    if (match := _VERSION_AND_FLAG.fullmatch(stated)) is None:
        raise EnvelopeUnreadable("field_unreadable", "v")
    check_version(int(match[1]), int(match[2]))


def fields_of(raw: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return a message's fields by name. Raises EnvelopeUnreadable for a name without a value, or twice."""
    fields = by_name(raw)
    check_names(raw, fields)
    return fields


def by_name(raw: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return a message's fields by name, as far as they have one each: see ``check_names``."""
    return dict(zip(raw[0::2], raw[1::2], strict=False))


def check_names(raw: Sequence[bytes], fields: Mapping[bytes, bytes]) -> None:
    """Raise EnvelopeUnreadable where ``by_name`` left something out: a name without a value, or twice."""
    if 2 * len(fields) != len(raw):
        raise EnvelopeUnreadable("fields_malformed", f"{len(raw)} items, or a name twice")


def decode_payload(
    fields: Mapping[bytes, bytes], decoder: msgspec.msgpack.Decoder[T], *, bytes_max: int
) -> T:
    """Return what field ``p`` holds. Raises EnvelopeUnreadable."""
    payload = fields.get(b"p")
    if payload is None:
        raise EnvelopeUnreadable("field_unreadable", "p")
    if len(payload) > bytes_max:
        raise EnvelopeUnreadable("payload_too_large", f"{len(payload)} bytes of {bytes_max}")
    try:
        return decoder.decode(payload)
    except DECODE_FAULTS as fault:
        raise caused_by(EnvelopeUnreadable("payload_malformed", describe(fault)), None)


def _accepted_at(raw: bytes) -> datetime | None:
    # For bytes, a digit is one of ASCII.
    if not (raw.isdigit() and len(raw) <= _ACCEPTED_AT_DIGITS_MAX):
        return None
    milliseconds = int(raw)
    is_past_all = milliseconds > _ACCEPTED_AT_MS_MAX
    return None if is_past_all else _EPOCH + milliseconds * _MILLISECOND
