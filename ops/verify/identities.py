"""How an order and its PSP keys are named, derived here once more from the description.

``order_uuid`` is the version 5 UUID (RFC 9562) of ``merchant|mode|key`` in the orders' namespace; the
partition is its first 8 bytes modulo the partition count. An operation's is that of ``payment|kind|key`` in
the operations' namespace, in the partition of its payment. A PSP key is ``tly_``, the uuid's 32
hexadecimal digits and the attempt's number, each digit written as one of sixteen letters.
"""

from __future__ import annotations

import hashlib
import re
from binascii import unhexlify
from typing import NamedTuple
from uuid import UUID

NAMESPACE = bytes.fromhex("7a11f57c0b5e4d2a9c3e5d1ed6e7a0c4")
OPERATION_NAMESPACE = bytes.fromhex("2b9d64a03c1f4e578d0a9f6e1b7c5a38")

MODES = ("test", "live")

_LETTERS = b"bcdfghjkmnpqrstv"
# Of bytes, which take a sixth of what text takes: a record has millions.
_TO_HEXADECIMAL = bytes.maketrans(_LETTERS, b"0123456789abcdef")
_PSP_KEY = re.compile(rb"tly_([%b]{32})_([%b]{1,4})" % (_LETTERS, _LETTERS))


class ChargedAttempt(NamedTuple):
    """What a PSP key says, once merchant and key of the charge agree with it."""

    order_uuid: bytes
    attempt_no: int


def derived_uuid(name: str, *, is_operation: bool = False) -> bytes:
    """Return the 16 bytes of the identity of ``merchant|mode|key``, or of an operation's ``payment|kind|key``."""
    namespace = OPERATION_NAMESPACE if is_operation else NAMESPACE
    digest = bytearray(hashlib.sha1(namespace + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return bytes(digest)


def derived_partition(order_uuid: bytes, partition_count: int) -> int:
    """Return the partition that an order of this identity belongs to."""
    return int.from_bytes(order_uuid[:8], "big") % partition_count


def charged_attempt(psp_key: str, merchant_id: str, order_key: str | None) -> ChargedAttempt | None:
    """Return whose attempt a charge is, or None where its key and the order that it names disagree."""
    match = _PSP_KEY.fullmatch(psp_key.encode())
    if match is None or order_key is None or match[2].startswith(_LETTERS[:1]):
        # Among them a number with a leading zero: another spelling than the one that is ever sent.
        return None
    stated = unhexlify(match[1].translate(_TO_HEXADECIMAL))
    for word in MODES:
        if derived_uuid(f"{merchant_id}|{word}|{order_key}") == stated:
            return ChargedAttempt(stated, int(match[2].translate(_TO_HEXADECIMAL), 16))
    return None


def claimed_order(merchant_id: str, order_key: str | None) -> UUID | None:
    """Return the order that a charge under a foreign key says it is for, in the first mode."""
    if order_key is None:
        return None
    return UUID(bytes=derived_uuid(f"{merchant_id}|{MODES[0]}|{order_key}"))
