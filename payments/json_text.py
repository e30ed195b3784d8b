"""Parts of answers as exact JSON text: ASCII, members in a fixed order, the same for ever."""

from __future__ import annotations

from datetime import datetime
from json.encoder import encode_basestring_ascii

from payments.defects import InvariantViolation

# A relative reference (RFC 9457, section 3.1.1 allows it), so that it leads to the documentation of
# the deployment that answered.
PROBLEM_TYPE_BASE = "/docs/problems#"


def json_string(text: str | None) -> str:
    """Return a text, or null."""
    return "null" if text is None else encode_basestring_ascii(text)


def json_time(moment: datetime | None) -> str:
    """Return RFC 3339 in UTC with milliseconds; finer parts are cut off, never rounded up.

    Raises InvariantViolation for a time that isn't UTC.
    """
    if moment is None:
        return "null"
    text = moment.isoformat(timespec="milliseconds")
    if not text.endswith("+00:00"):
        raise InvariantViolation(f"{text} is not a time in UTC")
    return f'"{text[:-6]}Z"'


def json_failure(code: str | None, decline_code: str | None, message: str | None) -> str:
    """Return why something failed; null where it did not."""
    if code is None:
        return "null"
    return (
        f'{{"code":{json_string(code)},"decline_code":{json_string(decline_code)}'
        f',"message":{json_string(message)}}}'
    )


def json_problem_head(
    *, title: str, status: int, detail: str, instance: str, code: str, decline_code: str | None
) -> bytes:
    """Return a frozen problem (RFC 9457) up to the object that it is about, which the caller adds.

    Never retryable: the key is spent. The request id is in the header alone, as it differs from answer
    to answer.
    """
    return (
        f'{{"type":{json_string(PROBLEM_TYPE_BASE + code)},"title":{json_string(title)}'
        f',"status":{status},"detail":{json_string(detail)}'
        f',"instance":{json_string(instance)},"code":{json_string(code)}'
        f',"decline_code":{json_string(decline_code)},"retryable":false'
    ).encode("ascii")
