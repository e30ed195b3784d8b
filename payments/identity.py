"""Identities: how an order, a PSP key, a transfer and a merchant are named.

Our own ids consist of a prefix and letters: no digit, and no vowel that could form a word. So no
id of ours can be taken for a card number, by us or by anyone's log scrubber.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from payments.defects import InvariantViolation
from payments.mode import Mode

# The namespace of all order_uuids. Changing it gives every known order a second identity.
ORDER_NAMESPACE = UUID("7a11f57c-0b5e-4d2a-9c3e-5d1ed6e7a0c4")
_NAMESPACE_BYTES = ORDER_NAMESPACE.bytes
# The namespace of all operation_uuids, apart from the orders': PSP keys derive from both.
OPERATION_NAMESPACE = UUID("2b9d64a0-3c1f-4e57-8d0a-9f6e1b7c5a38")
_OPERATION_NAMESPACE_BYTES = OPERATION_NAMESPACE.bytes
# A UUID's bits apart from its version and variant, and those two for version 5.
_UUID_HASH_BITS = 0xFFFFFFFF_FFFF_0FFF_3FFF_FFFFFFFFFFFF
_UUID_VERSION_5 = 0x00000000_0000_5000_8000_000000000000

# One letter for each hexadecimal digit, so that encoding is one C call.
LETTERS = "bcdfghjkmnpqrstv"
_HEX_TO_LETTERS = str.maketrans("0123456789abcdef", LETTERS)
_LETTERS_TO_HEX = str.maketrans(LETTERS, "0123456789abcdef")

# What Postgres keeps them in: smallint, bigint, smallint.
PARTITION_INDEX_MAX = 2**15 - 1
ORDER_NO_MAX = 2**63 - 1
STEP_MAX = 2**15 - 1
ATTEMPT_NO_MAX = 2**15 - 1

# 80 bits: with a million merchants a collision has a chance of one in two trillion.
MERCHANT_ID_RANDOM_BYTES = 10

SELLER_ID_LENGTH_MIN = 3
# Fits in one line of a statement and of every log.
SELLER_ID_LENGTH_MAX = 64
# `me` names the key's own wallet in a path; a merchant's own wallet goes under its merchant id.
SELLER_IDS_RESERVED = frozenset({"me"})
MERCHANT_ID_PREFIX = "mrc_"

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_IDEMPOTENCY_KEY = re.compile(rf'{_UUID}|"{_UUID}"', re.IGNORECASE | re.ASCII)
_PSP_KEY = re.compile(rf"tly_([{LETTERS}]{{32}})_([{LETTERS}]{{1,4}})")
_TRANSFER_ID = re.compile(rf"tr_([{LETTERS}]{{1,4}})_([{LETTERS}]{{1,16}})_([{LETTERS}]{{1,4}})")
_BATCH_ID = re.compile(rf"bt_([{LETTERS}]{{1,4}})_([{LETTERS}]{{1,16}})")
_REQUEST_ID = re.compile(rf"req_([{LETTERS}]{{32}})")
_DEAD_LETTER_ID = re.compile(rf"dl_([{LETTERS}]{{1,16}})")
_OPERATION_ID = re.compile(rf"(cp|vd|rf|xp)_([{LETTERS}]{{1,4}})_([{LETTERS}]{{32}})")
_MERCHANT_ID = re.compile(rf"{MERCHANT_ID_PREFIX}[{LETTERS}]{{{2 * MERCHANT_ID_RANDOM_BYTES}}}")
_SELLER_ID = re.compile(
    rf"[a-z][a-z0-9_.-]{{{SELLER_ID_LENGTH_MIN - 1},{SELLER_ID_LENGTH_MAX - 1}}}"
)


class PspKey(NamedTuple):
    """What a PSP key says: whose attempt it is."""

    order_uuid: UUID
    attempt_no: int


class TransferKey(NamedTuple):
    """The identity of one ledger row."""

    partition_index: int
    order_no: int
    step: int


class OperationKey(NamedTuple):
    """What an operation's public id says."""

    prefix: str
    """``cp`` capture, ``vd`` void, ``rf`` refund, ``xp`` expiry."""
    partition_index: int
    operation_uuid: UUID


class BatchKey(NamedTuple):
    """The identity of one partition's part in a flush."""

    partition_index: int
    batch_seq: int


def order_uuid(merchant_id: str, mode: Mode, idempotency_key: UUID) -> UUID:
    """Return the order's identity: uuid5 over ``merchant|mode|key``.

    The same client key of two merchants, or in test and live, gives two orders.
    """
    return UUID(bytes=order_bytes(merchant_id, mode, idempotency_key))


# Whoever names an order has it checked right after, before anybody else's.
@lru_cache(maxsize=16)
def order_bytes(merchant_id: str, mode: Mode, idempotency_key: UUID) -> bytes:
    """Return the 16 bytes of ``order_uuid``, for callers that put them into a faster UUID than Python's."""
    digest = _merchants_digest(merchant_id, mode).copy()
    digest.update(str(idempotency_key).encode())
    return _version_5(digest.digest())


def is_order_uuid(order: UUID, merchant_id: str, mode: Mode, idempotency_key: UUID) -> bool:
    """Whether ``order`` is the identity that follows from these."""
    return order.bytes == order_bytes(merchant_id, mode, idempotency_key)


def operation_uuid(payment: UUID, kind: str, idempotency_key: UUID) -> UUID:
    """Return an operation's identity: uuid5 over ``order_uuid|kind|key``.

    So a key names one operation of one payment: the same key for another payment, or for another kind
    of operation, is another operation.
    """
    name = f"{payment}|{kind}|{idempotency_key}".encode()
    digest = hashlib.sha1(_OPERATION_NAMESPACE_BYTES + name, usedforsecurity=False).digest()
    return UUID(bytes=_version_5(digest))


# Begun once for a merchant and a mode: the same few send nearly all orders. Whoever writes to the stream
# can make up ids of a whole payload's length, of which so many still are a few MiB.
@lru_cache(maxsize=1_024)
def _merchants_digest(merchant_id: str, mode: Mode) -> hashlib._Hash:
    if "|" in merchant_id:
        raise InvariantViolation("a merchant id with | could forge another merchant's orders")
    # SHA-1 only spreads here; whoever searches for collisions finds two keys of one merchant, his
    # own.
    name = f"{merchant_id}|{mode.wire}|".encode()
    return hashlib.sha1(_NAMESPACE_BYTES + name, usedforsecurity=False)


def _version_5(digest: bytes) -> bytes:
    """Return a digest's first 128 bits as RFC 9562 lays out a UUID of version 5 (section 5.5)."""
    number = int.from_bytes(digest[:16], "big") & _UUID_HASH_BITS | _UUID_VERSION_5
    return number.to_bytes(16, "big")


def is_idempotency_key(header: str) -> bool:
    """Whether ``parse_idempotency_key`` would find a key."""
    return _IDEMPOTENCY_KEY.fullmatch(header) is not None


def parse_idempotency_key(header: str) -> UUID | None:
    """Return the key of a header, bare or a quoted Structured-Field string; None when no UUID.

    Only 8-4-4-4-12 hexadecimal digits: Python's UUID() would also take braces and ``urn:uuid:``.
    """
    if _IDEMPOTENCY_KEY.fullmatch(header) is None:
        return None
    # What UUID() does with a text, without its search for forms that the line above has refused.
    return UUID(int=int(header.strip('"').replace("-", ""), 16))


def psp_key(order: UUID, attempt_no: int) -> str:
    """Return the idempotency key of one attempt at a PSP.

    It depends on the order and the attempt alone, never on the owner: a frozen owner and its
    successor send the same key. It is readable back (``parse_psp_key``), so that a charge found at
    the PSP leads to its order.
    """
    _check_range("attempt_no", attempt_no, ATTEMPT_NO_MAX)
    return f"tly_{order.hex.translate(_HEX_TO_LETTERS)}_{_letters(attempt_no)}"


def parse_psp_key(text: str) -> PspKey | None:
    """Return what ``psp_key`` wrote, or None when the text is no key of ours."""
    match = _PSP_KEY.fullmatch(text)
    if match is None:
        return None
    key = PspKey(UUID(match[1].translate(_LETTERS_TO_HEX)), _number(match[2]))
    return key if key.attempt_no <= ATTEMPT_NO_MAX and psp_key(*key) == text else None


def transfer_id(partition_index: int, order_no: int, step: int) -> str:
    """Return the public id of a ledger row, ``tr_…``."""
    _check_range("partition_index", partition_index, PARTITION_INDEX_MAX)
    _check_range("order_no", order_no, ORDER_NO_MAX)
    _check_range("step", step, STEP_MAX)
    return f"tr_{_letters(partition_index)}_{_letters(order_no)}_{_letters(step)}"


def parse_transfer_id(text: str) -> TransferKey | None:
    """Return what ``transfer_id`` wrote, or None when the text is no transfer id."""
    match = _TRANSFER_ID.fullmatch(text)
    if match is None:
        return None
    key = TransferKey(_number(match[1]), _number(match[2]), _number(match[3]))
    is_in_range = (
        key.partition_index <= PARTITION_INDEX_MAX
        and key.order_no <= ORDER_NO_MAX
        and key.step <= STEP_MAX
    )
    # One spelling a row: leading zeros (b) are refused.
    return key if is_in_range and transfer_id(*key) == text else None


def batch_id(partition_index: int, batch_seq: int) -> str:
    """Return the public id of a partition's part in a flush, ``bt_…``."""
    _check_range("partition_index", partition_index, PARTITION_INDEX_MAX)
    _check_range("batch_seq", batch_seq, ORDER_NO_MAX)
    return f"bt_{_letters(partition_index)}_{_letters(batch_seq)}"


def parse_batch_id(text: str) -> BatchKey | None:
    """Return what ``batch_id`` wrote, or None when the text is no batch id."""
    match = _BATCH_ID.fullmatch(text)
    if match is None:
        return None
    key = BatchKey(_number(match[1]), _number(match[2]))
    is_in_range = key.partition_index <= PARTITION_INDEX_MAX and key.batch_seq <= ORDER_NO_MAX
    return key if is_in_range and batch_id(*key) == text else None


def operation_id(prefix: str, partition_index: int, operation: UUID) -> str:
    """Return an operation's public id, such as ``rf_…``: it leads to its partition and identity."""
    _check_range("partition_index", partition_index, PARTITION_INDEX_MAX)
    return f"{prefix}_{_letters(partition_index)}_{operation.hex.translate(_HEX_TO_LETTERS)}"


def parse_operation_id(text: str) -> OperationKey | None:
    """Return what ``operation_id`` wrote, or None when the text is no such id."""
    match = _OPERATION_ID.fullmatch(text)
    if match is None:
        return None
    key = OperationKey(match[1], _number(match[2]), UUID(match[3].translate(_LETTERS_TO_HEX)))
    is_in_range = key.partition_index <= PARTITION_INDEX_MAX
    return key if is_in_range and operation_id(*key) == text else None


def dead_letter_id(dead_letter_no: int) -> str:
    """Return the public id of a dead letter, ``dl_…``."""
    _check_range("dead_letter_no", dead_letter_no, ORDER_NO_MAX)
    return f"dl_{_letters(dead_letter_no)}"


def parse_dead_letter_id(text: str) -> int | None:
    """Return what ``dead_letter_id`` wrote, or None when the text is no such id."""
    match = _DEAD_LETTER_ID.fullmatch(text)
    if match is None:
        return None
    number = _number(match[1])
    return number if number <= ORDER_NO_MAX and dead_letter_id(number) == text else None


def request_id(number: UUID) -> str:
    """Return the public id of a request, ``req_…``."""
    return f"req_{number.hex.translate(_HEX_TO_LETTERS)}"


def parse_request_id(text: str) -> UUID | None:
    """Return what ``request_id`` wrote, or None when the text is no such id."""
    match = _REQUEST_ID.fullmatch(text)
    return None if match is None else UUID(int=int(match[1].translate(_LETTERS_TO_HEX), 16))


def new_merchant_id(random_bytes: bytes) -> str:
    """Return ``mrc_…`` of exactly MERCHANT_ID_RANDOM_BYTES bytes of the caller's random source."""
    if len(random_bytes) != MERCHANT_ID_RANDOM_BYTES:
        raise InvariantViolation(f"a merchant id needs {MERCHANT_ID_RANDOM_BYTES} random bytes")
    return MERCHANT_ID_PREFIX + random_bytes.hex().translate(_HEX_TO_LETTERS)


def is_merchant_id(text: str) -> bool:
    """Whether the text has the form of a merchant id."""
    return _MERCHANT_ID.fullmatch(text) is not None


def is_seller_id(text: str) -> bool:
    """Whether a merchant may name a seller so: 3-64 of ``a-z 0-9 _ . -``, a letter first.

    ``mrc_…`` is refused: a seller must not look like a merchant's own wallet.
    """
    return (
        _SELLER_ID.fullmatch(text) is not None
        and text not in SELLER_IDS_RESERVED
        and not text.startswith(MERCHANT_ID_PREFIX)
    )


def _letters(number: int) -> str:
    return format(number, "x").translate(_HEX_TO_LETTERS)


def _number(letters: str) -> int:
    return int(letters.translate(_LETTERS_TO_HEX), 16)


def _check_range(name: str, value: int, value_max: int) -> None:
    if not 0 <= value <= value_max:
        raise InvariantViolation(f"{name}={value} is outside 0..{value_max}")
