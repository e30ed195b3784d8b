"""What there is to say of the dead letters' routes; their handlers are in ``gateway.dead_letters``."""

from __future__ import annotations

from typing import Annotated

import msgspec

from gateway.openapi.common import LIMIT, number_pattern
from gateway.openapi.declarations import (
    Answered,
    Body,
    Declaration,
    Example,
    Parameter,
    Tag,
    problem_answer,
    rule,
)
from gateway.problems import Code, Problem
from payments.identity import ORDER_NO_MAX
from payments.json_schema import TIME, Schema, constant, list_of, nullable, one_of, record, text
from storage.letters import REASON_CHARACTERS_MAX, LetterState

# What would hide or turn round what an operator reads: control characters, line separators, directions.
_HIDDEN = r"\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069"
REASON_PATTERN = rf"^[^{_HIDDEN}]*[^\s{_HIDDEN}][^{_HIDDEN}]*$"


class ActionRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """The body of an action."""

    reason: Annotated[
        str,
        rule(
            "For the audit: not only spaces, and no control characters.",
            minLength=1,
            maxLength=REASON_CHARACTERS_MAX,
            pattern=REASON_PATTERN,
        ),
    ]


_MEMBERS: dict[str, Schema] = {
    "id": text(pattern="^dl_[b-v]{1,16}$"),
    "object": constant("dead_letter"),
    "state": one_of(*(state.value for state in LetterState)),
    "reason": text("What kind of trouble it is, such as `payload_malformed`."),
    "detail": text(),
    "attempts": {"type": "integer", "minimum": 0, "description": "How often it was tried."},
    "refusal": nullable(text("Why the last replay came to nothing.")),
    "partition": {"type": "integer", "minimum": 0},
    "stream_id": text(),
    "merchant": nullable(text()),
    "mode": nullable(one_of("test", "live")),
    "order_uuid": nullable(text(format="uuid")),
    "is_order": {"type": "boolean", "description": "Whether a payment is shown because of it."},
    "bytes": {"type": "integer", "minimum": 0},
    "created_at": TIME,
}
LETTER: Schema = record("DeadLetter", "A message that could not be taken in.", _MEMBERS)
LETTER_LIST: Schema = list_of(LETTER)
LETTER_IN_FULL: Schema = record(
    "DeadLetterInFull",
    "A dead letter, and what its message holds by kind and size.",
    {
        **_MEMBERS,
        "fields": nullable(
            {"type": "object", "additionalProperties": nullable({"type": "string"})}
        ),
    },
)

_ID: Schema = {"type": "string", "pattern": f"^dl_{number_pattern(ORDER_NO_MAX)}$"}
_OF_ONE = (
    Parameter(
        name="id",
        place="path",
        text="The letter's id.",
        schema={"type": "string", "minLength": 1},
        example="dl_c",
    ),
)
_NOT_FOUND = (Code.DEAD_LETTER_NOT_FOUND,)
_OF_ACTIONS = (Code.DEAD_LETTER_NOT_FOUND, Code.DEAD_LETTER_CLOSED, Code.REASON_INVALID)

NOT_FOUND = Problem(
    code=Code.DEAD_LETTER_NOT_FOUND, detail="There is no such dead letter in this mode."
)
_EXAMPLE: dict[str, object] = {
    "id": "dl_c",
    "object": "dead_letter",
    "state": "waiting",
    "reason": "payload_malformed",
    "detail": "Expected `array`, got `int`",
    "attempts": 1,
    "refusal": None,
    "partition": 3,
    "stream_id": "1793534400000-0",
    "merchant": "mrc_bcdfghjkmnpqrstvbcdf",
    "mode": "test",
    "order_uuid": "5d0cf3a1-3c1c-5c3e-9f1e-7a4b2f0d9c11",
    "is_order": True,
    "bytes": 270,
    "created_at": "2026-11-01T12:00:00.000Z",
}

LIST = Declaration(
    name="list_dead_letters",
    tag=Tag.OPERATORS,
    summary="List dead letters",
    text="Newest first, without their bodies. Letters of the other mode only shorten a page.",
    parameters=(
        LIMIT,
        Parameter(
            name="starting_after", place="query", text="The page after this letter.", schema=_ID
        ),
        Parameter(
            name="state",
            place="query",
            text="Exactly this one.",
            schema=one_of(*(state.value for state in LetterState)),
        ),
    ),
    answers=(Answered(status=200, text="One page.", schema=LETTER_LIST),),
    examples=(
        Example(
            name="waiting",
            text="What waits for an operator",
            query={"state": "waiting"},
            status=200,
            answer={"object": "list", "data": [_EXAMPLE], "has_more": False},
        ),
    ),
)
READ = Declaration(
    name="read_dead_letter",
    tag=Tag.OPERATORS,
    summary="Read a dead letter",
    text="Its body by kind and size alone.",
    parameters=_OF_ONE,
    answers=(Answered(status=200, text="The letter.", schema=LETTER_IN_FULL),),
    problems=_NOT_FOUND,
    examples=(
        Example(
            name="missing",
            text="A letter that there is not",
            path={"id": "dl_vvv"},
            status=404,
            answer=problem_answer(NOT_FOUND),
        ),
    ),
)


def _action(name: str, summary: str, what: str, now: str) -> Declaration:
    return Declaration(
        name=name,
        tag=Tag.OPERATORS,
        summary=summary,
        text=f"{what} A repeat is answered like the first.",
        parameters=_OF_ONE,
        body=Body(of=ActionRequest, text="Why."),
        answers=(
            Answered(status=200, text="It is done.", schema=LETTER),
            Answered(
                status=202, text="It is written down; the partition's owner does it.", schema=LETTER
            ),
        ),
        problems=_OF_ACTIONS,
        examples=(
            Example(
                name=f"{now}_missing",
                text="A letter that there is not",
                path={"id": "dl_vvv"},
                body={"reason": "looked at with the storefront"},
                status=404,
                answer=problem_answer(NOT_FOUND),
            ),
        ),
    )


REPLAY = _action(
    "replay_dead_letter",
    "Replay a dead letter",
    "Its owner takes it in again, under the same key.",
    "replaying",
)
DISCARD = _action(
    "discard_dead_letter", "Discard a dead letter", "Its order fails for good.", "discarding"
)
