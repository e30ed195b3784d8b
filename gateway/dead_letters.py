"""``/v1/dead_letters``: messages that could not be taken in, and what operators want done with them.

Nothing here changes an order: an action is a row, which the owner of the partition reads and carries
out. Bodies are shown by kind and size alone; who has to read one uses ``tally dead-letters show --raw``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from aiohttp import web

from gateway.authentication import Operator
from gateway.bodies import decode_body, read_body
from gateway.dead_letter_declarations import (
    DISCARD,
    LIST,
    NOT_FOUND,
    READ,
    REASON_PATTERN,
    REPLAY,
    ActionRequest,
)
from gateway.door import Answer
from gateway.openapi.declarations import documented
from gateway.parameters import read_limit, single_parameters
from gateway.problems import Code, Problem, store_unavailable
from gateway.rendering import json_response, rfc3339
from gateway.settings import GatewaySettings
from payments.identity import dead_letter_id, parse_dead_letter_id
from payments.rows import LetterActionKind
from runtime.faults import StorageUnavailable
from storage.letters import (
    ABOVE_ALL_LETTERS,
    REASON_CHARACTERS_MAX,
    Letter,
    Letters,
    LetterState,
    one_letter,
    redacted,
)

_AWAY = store_unavailable("Dead letters can't be read now.", may_run=False)
_UNCERTAIN = store_unavailable(
    "The action may or may not have been written. Send the same request again.", may_run=True
)
_BAD_REASON = Problem(
    code=Code.REASON_INVALID,
    detail=f"The reason has 1 to {REASON_CHARACTERS_MAX} characters, none of them a control one.",
    param="$.reason",
)
_BAD_STATE = Problem(
    code=Code.PARAMETER_INVALID,
    detail=f"One of {', '.join(state.value for state in LetterState)}.",
    param="query:state",
)
_BAD_CURSOR = Problem(
    code=Code.PARAMETER_INVALID,
    detail="The cursor is no dead letter's id.",
    param="query:starting_after",
)

# What counts as done already, so that a repeat is answered like the first.
_DONE: Mapping[LetterActionKind, frozenset[LetterState]] = {
    LetterActionKind.REPLAY: frozenset({LetterState.REPLAYING, LetterState.REPLAYED}),
    LetterActionKind.DISCARD: frozenset({LetterState.DISCARDING, LetterState.DISCARDED}),
}


_REASON = re.compile(REASON_PATTERN)
_DECODER = msgspec.json.Decoder(ActionRequest)


class DeadLetters:
    """The handlers of the dead letters' routes."""

    def __init__(self, letters: Letters, settings: GatewaySettings) -> None:
        self._letters = letters
        self._settings = settings

    @documented(LIST)
    async def list_all(self, request: web.Request, operator: Operator) -> Answer:
        """GET /v1/dead_letters: one page, newest first, without bodies."""
        parameters = single_parameters(request, ("limit", "starting_after", "state"))
        if isinstance(parameters, Problem):
            return parameters
        limit = read_limit(parameters)
        if isinstance(limit, Problem):
            return limit
        wanted = parameters.get("state")
        if wanted is not None and wanted not in {state.value for state in LetterState}:
            return _BAD_STATE
        below: int | None = ABOVE_ALL_LETTERS
        if "starting_after" in parameters:
            below = parse_dead_letter_id(parameters["starting_after"])
        if below is None:
            return _BAD_CURSOR
        try:
            # One more tells whether there are more. Letters of the other mode only shorten a page.
            page = await self._letters.page(
                below=below,
                state=None if wanted is None else LetterState(wanted),
                count_max=limit + 1,
            )
        except StorageUnavailable:
            return _AWAY
        shown = [letter_document(letter) for letter in page[:limit] if _may_see(operator, letter)]
        return json_response({"object": "list", "data": shown, "has_more": len(page) > limit})

    @documented(READ)
    async def show(self, request: web.Request, operator: Operator) -> Answer:
        """GET /v1/dead_letters/{id}: one, its body redacted."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        try:
            letter = await self._letter(request, operator)
            if isinstance(letter, Problem):
                return letter
            raw = await self._letters.raw(letter.dead_letter_no)
        except StorageUnavailable:
            return _AWAY
        fields = None if raw is None else redacted(raw)
        return json_response({**letter_document(letter), "fields": fields})

    @documented(REPLAY)
    async def replay(self, request: web.Request, operator: Operator) -> Answer:
        """POST /v1/dead_letters/{id}/replay: have its owner take it in again, under the same key."""
        return await self._act(request, operator, LetterActionKind.REPLAY)

    @documented(DISCARD)
    async def discard(self, request: web.Request, operator: Operator) -> Answer:
        """POST /v1/dead_letters/{id}/discard: have its order fail for good."""
        return await self._act(request, operator, LetterActionKind.DISCARD)

    async def _act(
        self, request: web.Request, operator: Operator, kind: LetterActionKind
    ) -> Answer:
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        body = await read_body(request, self._settings.body_s)
        if isinstance(body, Problem):
            return body
        wanted = decode_body(body, _DECODER)
        if isinstance(wanted, Problem):
            return wanted
        is_too_long = len(wanted.reason) > REASON_CHARACTERS_MAX
        if is_too_long or _REASON.fullmatch(wanted.reason) is None:
            return _BAD_REASON
        reason = wanted.reason.strip()
        try:
            letter = await self._letter(request, operator)
            if isinstance(letter, Problem):
                return letter
            is_new = await self._letters.want(
                letter.dead_letter_no, kind, actor=f"key {operator.key_id}", reason=reason
            )
            now = await one_letter(self._letters, letter.dead_letter_no)
        except StorageUnavailable:
            return _UNCERTAIN
        if now is None or not (is_new or now.state in _DONE[kind]):
            return _closed(now)
        is_over = now.state in (LetterState.REPLAYED, LetterState.DISCARDED)
        return json_response(letter_document(now), 200 if is_over else 202)

    async def _letter(self, request: web.Request, operator: Operator) -> Letter | Problem:
        number = parse_dead_letter_id(request.match_info["id"])
        letter = None if number is None else await one_letter(self._letters, number)
        return letter if letter is not None and _may_see(operator, letter) else NOT_FOUND


def _may_see(operator: Operator, letter: Letter) -> bool:
    """A letter whose mode nobody can read is shown to operators of both."""
    return letter.mode is None or letter.mode is operator.mode


def _closed(letter: Letter | None) -> Problem:
    state = "gone" if letter is None else letter.state.value
    return Problem(
        code=Code.DEAD_LETTER_CLOSED,
        detail=f"The letter is {state}: this action can't follow. Nothing was written.",
        details={"state": state},
    )


def letter_document(letter: Letter) -> dict[str, object]:
    """Return a letter as the API shows it: nothing of it is personal."""
    return {
        "id": dead_letter_id(letter.dead_letter_no),
        "object": "dead_letter",
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
        "created_at": rfc3339(letter.created_at),
    }
