"""The hash chain over a partition's books: altering, removing or reordering a row breaks it.

head(n) = SHA-256(head(n-1) || partition || batch_seq || outcomes || transfers), over a canonical form
that does not depend on the database's own encoding. Outcomes are ordered by order_no, transfers by
(order_no, step); both are those written by that batch.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from datetime import UTC, datetime
from operator import attrgetter

from payments.rows import OutcomeRow, TransferRow

HASH_BYTES = 32

# What a partition's chain starts from; a partition without books has this head.
GENESIS = bytes(HASH_BYTES)

_BATCH = struct.Struct(">hqII")
_TRANSFER = struct.Struct(">qhhqqq3s")
_OUTCOME = struct.Struct(">qhqhqq3s")
_LENGTH = struct.Struct(">i")
_TIME = struct.Struct(">?q")
_NO_TEXT = _LENGTH.pack(-1)
_NO_TIME = _TIME.pack(False, 0)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _text(value: str | None) -> bytes:
    """Length first, so that no two sequences of texts share bytes; -1 tells None from empty."""
    if value is None:
        return _NO_TEXT
    raw = value.encode()
    return _LENGTH.pack(len(raw)) + raw


def _time(value: datetime | None) -> bytes:
    """Microseconds since 1970 in UTC, as exact as the database; a flag tells None from 1970."""
    if value is None:
        return _NO_TIME
    since = value - _EPOCH
    # A division by a timedelta of a microsecond says the same, and takes twice as long.
    return _TIME.pack(True, (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def extend(
    head: bytes,
    partition_index: int,
    batch_seq: int,
    outcomes: Iterable[OutcomeRow],
    transfers: Iterable[TransferRow],
) -> bytes:
    """Return the chain's head after one batch. Rows may come in any order."""
    outcome_bytes = [
        _OUTCOME.pack(
            row.order_no,
            row.status,
            row.amount_captured_minor,
            row.attempt_no,
            row.event_sequence,
            row.fee_minor,
            row.currency.encode("ascii"),
        )
        + _text(row.psp)
        + _text(row.psp_reference)
        + _text(row.failure_code)
        + _text(row.decline_code)
        + _text(row.failure_message)
        + _time(row.effective_at)
        for row in sorted(outcomes, key=attrgetter("order_no"))
    ]
    transfer_bytes = [
        _TRANSFER.pack(
            row.order_no,
            row.step,
            row.kind,
            row.debit_account_no,
            row.credit_account_no,
            row.amount_minor,
            row.currency.encode("ascii"),
        )
        for row in sorted(transfers, key=attrgetter("order_no", "step"))
    ]
    digest = hashlib.sha256(head)
    digest.update(_BATCH.pack(partition_index, batch_seq, len(outcome_bytes), len(transfer_bytes)))
    digest.update(b"".join(outcome_bytes))
    digest.update(b"".join(transfer_bytes))
    return digest.digest()
