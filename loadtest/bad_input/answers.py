"""Answers: read from the wire as they are, and judged against what the API documents."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from loadtest.bad_input.refusals import Refusal
from loadtest.bad_input.requests import BadRequest, Ending

PROBLEM_CONTENT_TYPE = "application/problem+json"
# The longest answer here is a problem of half a kilobyte.
BODY_BYTES_MAX = 64 * 1024
# So many digits of a card number in a row are no chance: they were repeated.
ECHOED_DIGITS = 8

_MEMBERS = ("type", "title", "status", "detail", "instance", "code", "retryable", "request_id")
_HEADERS = ("request-id", "tallystick-version", "server", "content-length", "date")
_HEADERS_BY_STATUS: Mapping[int, str] = {401: "www-authenticate", 405: "allow"}
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([0-9]{3}) ")


class AnswerUnreadable(Exception):
    """What came back is no HTTP answer. Says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer; names of header fields in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_last: bool
    """Whether the gateway closes the connection after it."""


async def read_answer(reader: asyncio.StreamReader) -> Answer | None:
    """Return the next answer, None when the connection ended before one. Raises AnswerUnreadable."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as end:
        if end.partial:
            raise AnswerUnreadable("the connection ended within an answer's head") from None
        return None
    except asyncio.LimitOverrunError:
        raise AnswerUnreadable("an answer's head has no end") from None
    status_line, *lines = head[:-4].split(b"\r\n")
    status = _STATUS_LINE.match(status_line)
    if status is None:
        raise AnswerUnreadable("no status line")
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    length = headers.get("content-length", "")
    if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
        raise AnswerUnreadable("no usable Content-Length")
    try:
        body = await reader.readexactly(int(length))
    except asyncio.IncompleteReadError:
        raise AnswerUnreadable("the connection ended within an answer's body") from None
    # HTTP/1.0, in which heads that can't be read are answered, closes unless it says otherwise.
    connection = headers.get("connection", "").lower()
    is_last = connection == "close" if status[1] == b"1" else connection != "keep-alive"
    return Answer(status=int(status[2]), headers=headers, body=body, is_last=is_last)


def complaint(
    request: BadRequest, answers: Sequence[Answer], documented: Mapping[str, int]
) -> str | None:
    """Return the first thing that is wrong with the answers to a request, or None.

    ``documented``: the status of every code, as the gateway's own page of problems lists them.
    """
    if request.ending is Ending.HALF_CLOSED and not answers:
        # Whoever hangs up within a request is owed nothing.
        return None
    expected = request.answers
    if answers and request.is_last_enough:
        expected = expected[-len(answers) :]
    if len(answers) != len(expected):
        return f"{len(answers)} answers instead of {len(expected)}"
    for answer, allowed in zip(answers, expected, strict=True):
        wrong = _complaint_of_one(answer, allowed, documented) or _echo(answer, request)
        if wrong is not None:
            return wrong
    return None


def _complaint_of_one(
    answer: Answer, allowed: Collection[Refusal], documented: Mapping[str, int]
) -> str | None:
    try:
        problem = json.loads(answer.body)
    except ValueError:
        return f"{answer.status} with a body that is no JSON"
    if not isinstance(problem, dict):
        return f"{answer.status} with a body that is no problem"
    got = Refusal(answer.status, str(problem.get("code")), problem.get("param"))
    if got not in allowed:
        wanted = " or ".join(sorted(map(str, allowed)))
        return f"{got} instead of {wanted}: {problem.get('detail')}"
    if documented.get(got.code) != got.status:
        return f"{got} is not in the list of problems"
    if answer.headers.get("content-type") != PROBLEM_CONTENT_TYPE:
        return f"{got} as {answer.headers.get('content-type')}"
    members = [name for name in _MEMBERS if name not in problem]
    if (
        members
        or problem["status"] != got.status
        or problem["retryable"] is not (got.status == 408)
    ):
        return f"{got} with wrong members, or without {members}"
    wanted_headers = [*_HEADERS, *filter(None, (_HEADERS_BY_STATUS.get(got.status),))]
    missing = [name for name in wanted_headers if name not in answer.headers]
    if missing:
        return f"{got} without the headers {missing}"
    if answer.headers["request-id"] != problem["request_id"]:
        return f"{got} with two request ids"
    return None


def _echo(answer: Answer, request: BadRequest) -> str | None:
    """Complain when digits of the card number come back, however they are spaced."""
    number = request.card_number
    shown = re.sub(r"[^0-9]", "", f"{answer.headers} {answer.body.decode('utf-8', 'replace')}")
    slices = (
        number[start : start + ECHOED_DIGITS] for start in range(len(number) - ECHOED_DIGITS + 1)
    )
    return (
        "the answer shows digits of the card number"
        if any(map(shown.__contains__, slices))
        else None
    )
