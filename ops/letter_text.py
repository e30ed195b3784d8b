"""What `tally dead-letters` shows of a letter."""

from __future__ import annotations

from itertools import zip_longest

from payments.identity import dead_letter_id
from storage.letters import Letter

_SPACE, _BACKSLASH, _TILDE = b" \\~"


def raw_text(part: bytes) -> str:
    """Return bytes as ASCII; what is not printable there as ``\\xNN``, a backslash twice."""
    return "".join(
        "\\\\"
        if byte == _BACKSLASH
        else chr(byte)
        if _SPACE <= byte <= _TILDE
        else f"\\x{byte:02x}"
        for byte in part
    )


def field_rows(fields: object) -> list[tuple[str, str]]:
    """Return the message's fields, one a row: redacted ones by name, raw ones as they come in pairs."""
    if isinstance(fields, dict):
        return [
            (f"field {name}", str(value)) for name, value in fields.items() if value is not None
        ]
    if isinstance(fields, list):
        pairs = zip_longest(fields[0::2], fields[1::2], fillvalue="")
        return [(f"field {name}", value) for name, value in pairs]
    return [("fields", "unreadable: an unknown envelope")]


def letter_document(letter: Letter) -> dict[str, object]:
    """Return a letter as JSON shows it, without its body."""
    return {
        "id": dead_letter_id(letter.dead_letter_no),
        "state": letter.state.value,
        "reason": letter.reason,
        "detail": letter.detail,
        "attempts": letter.attempt_count,
        "refusal": letter.refusal,
        "partition": letter.partition_index,
        "stream_id": letter.stream_id,
        "merchant": letter.merchant_id,
        "mode": None if letter.mode is None else letter.mode.wire,
        "order_uuid": None if letter.order_uuid is None else str(letter.order_uuid),
        "is_order": letter.is_order,
        "bytes": letter.envelope_bytes,
        "created_at": letter.created_at.isoformat(),
    }
