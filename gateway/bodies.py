"""Request bodies: from bytes to a checked shape, or the problem that says where it is wrong.

The order matters: card numbers are looked for before anything else reads the bytes, because the
messages of everything that follows may name parts of them.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import TypeVar

import msgspec
from aiohttp import hdrs, web

from gateway.problems import Code, Problem
from gateway.raw_metadata import RAW_METADATA_DECODER
from gateway.settings import BODY_BYTES_MAX
from payments.card_numbers import contains_card_number, contains_card_number_in_json
from payments.defects import caused_by

T = TypeVar("T")

BODY: web.RequestKey[bytes] = web.RequestKey("body", bytes)
"""The body of a request that was read, for the request log."""

CONTENT_TYPE_JSON = "application/json"

PAN_PROBLEM = Problem(
    code=Code.PAN_NOT_ACCEPTED,
    detail="The request holds what looks like a card number. It was neither read nor kept.",
)

JSON_PROBLEM = Problem(
    code=Code.JSON_INVALID, detail="The body can't be read as JSON in UTF-8.", param="$"
)
_TOO_LARGE = Problem(
    code=Code.BODY_TOO_LARGE, detail=f"A body may have at most {BODY_BYTES_MAX} bytes."
)
_WRONG_CONTENT_TYPE = Problem(
    code=Code.CONTENT_TYPE_UNSUPPORTED,
    detail=f"Send the body as {CONTENT_TYPE_JSON}, in UTF-8, without a Content-Encoding.",
    param="header:Content-Type",
)
_TOO_SLOW = Problem(
    code=Code.REQUEST_TIMEOUT, detail="The body did not arrive in time. Send the request again."
)

_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING_FIELD = re.compile(r"Object missing required field `(\w+)`")
# What the library appends of a place within the body, and of the body itself nothing: a name that
# ends so is told by its body (_is_of_the_body).
_AT_PATH = re.compile(r" - at `(\$[^`]*)`\Z")
# Names of members that are safe to repeat in an answer.
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
# The same for keys of metadata, which often hold hyphens.
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_ANY_METADATA = "$.metadata[...]"
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


async def read_body(request: web.Request, timeout_s: float) -> bytes | Problem:
    """Return the whole body, or the problem of one that is no JSON, too large or too slow.

    Raises web.RequestPayloadError when it can't be read, or its sender has gone.
    """
    if not _is_json(request):
        return _WRONG_CONTENT_TYPE
    content = request.content
    try:
        if content.is_eof():
            # The usual case: the body came with the head, and nothing has to be waited for.
            body = content.read_nowait()
        else:
            length = request.content_length
            if length is not None and length > BODY_BYTES_MAX:
                return _TOO_LARGE
            async with asyncio.timeout(timeout_s):
                body = await request.read()
    except TimeoutError:
        return _TOO_SLOW
    except web.HTTPRequestEntityTooLarge:
        return _TOO_LARGE
    except ConnectionResetError as gone:
        # The client hung up in the middle of its body: its affair, and no defect of ours.
        raise caused_by(web.RequestPayloadError(), gone)
    if len(body) > BODY_BYTES_MAX:
        return _TOO_LARGE
    request[BODY] = body
    return body


def decode_body(
    body: bytes,
    decoder: msgspec.json.Decoder[T],
    member_count: Callable[[T], int] | None = None,
) -> T | Problem:
    """Return the body in the decoder's shape, or the first problem in it.

    A member that a JSON object names twice is refused: readers before us may have checked the one,
    and we would act on the other. ``member_count`` tells how many members with a value the decoded
    body has, those of its objects included: most bodies then need no second reading.
    """
    if contains_card_number_in_json(body):
        return PAN_PROBLEM
    try:
        decoded = decoder.decode(body)
        # A member takes a colon, so as many members with a value as colons means that none was named
        # twice. A null, or a colon within a text, only means that the slower reading has to tell.
        if member_count is None or body.count(b":") != member_count(decoded):
            # Only now that the shape is known, mostly to be flat: this decoder would follow any depth.
            _MEMBER_READER.decode(body.decode())
    except msgspec.ValidationError as error:
        return shape_problem(str(error), body)
    except _MemberRepeated:
        return Problem(
            code=Code.JSON_MEMBER_REPEATED,
            detail="A JSON object names one of its members more than once.",
            param="$",
        )
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        return JSON_PROBLEM
    return decoded


class _MemberRepeated(Exception):
    """Ends the reading of a body; never leaves this module."""


def _refuse_repeated(members: list[tuple[str, object]]) -> None:
    if len({name for name, _ in members}) != len(members):
        raise _MemberRepeated


# Built once: a decoder with a hook costs as much to build as to use.
_MEMBER_READER = json.JSONDecoder(object_pairs_hook=_refuse_repeated)


def _is_json(request: web.Request) -> bool:
    headers = request.headers
    if hdrs.CONTENT_ENCODING in headers:
        return False
    if headers.get(hdrs.CONTENT_TYPE) == CONTENT_TYPE_JSON:
        # Nearly everybody's, and spared the parser.
        return True
    charset = request.charset
    return request.content_type == CONTENT_TYPE_JSON and (
        charset is None or charset.lower() in ("utf-8", "utf8")
    )


def _metadata_path(key: str | None) -> str:
    """Return where a value of metadata lies.

    A key that is not plain, or that may be a card number, is not repeated.
    """
    if key is None or _PLAIN_KEY.fullmatch(key) is None or contains_card_number(key):
        return _ANY_METADATA
    return f"$.metadata.{key}"


def _metadata_key_of_no_text(body: bytes) -> str | None:
    """Return the first key of metadata whose value is no string; None where that can't be told."""
    try:
        metadata = RAW_METADATA_DECODER.decode(body).metadata
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # What follows the wrong value was not read yet, and may be anything.
        return None
    return next((key for key, raw in metadata.items() if not bytes(raw).startswith(b'"')), None)


def _is_of_the_body(name: str, body: bytes) -> bool:
    """Whether the body itself may have a member of this name, which ends as if the library named a place.

    Such a name holds a backtick. Where the body can't be read to its end, as what follows the first
    wrong member was not, one anywhere in it is enough to believe no place.
    """
    if b"`" not in body and b"\\u0060" not in body:
        return False
    try:
        return name in _MEMBERS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True


def _place(message: str, body: bytes) -> tuple[str, str]:
    """Return what is wrong, and the path to it."""
    found = _AT_PATH.search(message)
    if found is None:
        return message, "$"
    unknown = _UNKNOWN_FIELD.fullmatch(message)
    if unknown is not None and _is_of_the_body(unknown[1], body):
        return message, "$"
    return message[: found.start()], found[1]


def shape_problem(message: str, body: bytes) -> Problem:
    """Return the problem of a validation error: the library names the place, we name the code."""
    what, path = _place(message, body)
    if path == _ANY_METADATA:
        # The library does not say which key.
        path = _metadata_path(_metadata_key_of_no_text(body))
    if (unknown := _UNKNOWN_FIELD.fullmatch(what)) is not None:
        name = unknown[1]
        is_plain = _PLAIN_NAME.fullmatch(name) is not None
        return Problem(
            code=Code.FIELD_UNKNOWN,
            detail="The API has no such field here.",
            param=f"{path}.{name}" if is_plain else path,
        )
    if (missing := _MISSING_FIELD.fullmatch(what)) is not None:
        return Problem(
            code=Code.FIELD_MISSING,
            detail="A required field is missing.",
            param=f"{path}.{missing[1]}",
        )
    if what.startswith("Integer value out of range"):
        return Problem(
            code=Code.AMOUNT_TOO_LARGE, detail="The number is out of every range.", param=path
        )
    return Problem(code=Code.FIELD_TYPE_INVALID, detail=f"{what}.", param=path)
