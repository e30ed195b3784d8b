"""What there is to say of the routes of events; handlers: ``gateway.events``, ``gateway.event_stream``."""

from __future__ import annotations

from gateway.openapi.common import LIMIT, number_pattern
from gateway.openapi.declarations import (
    Answered,
    Declaration,
    Example,
    Parameter,
    Tag,
    problem_answer,
)
from gateway.problems import Code, Problem
from payments.event_types import EVENT_TYPES
from payments.feed import CURSOR_PREFIX, DB_TRANSACTION_MAX, SEQUENCE_MAX, EventKey, event_id
from payments.identity import ORDER_NO_MAX, PARTITION_INDEX_MAX
from payments.json_schema import TIME, Schema, constant, one_of, record, text

EVENT_NOT_FOUND = Problem(
    code=Code.EVENT_NOT_FOUND, detail="This merchant and mode has no event of that id."
)

EVENT: Schema = record(
    "Event",
    "Something that happened to an object: the same bytes in the feed, in the stream, and in every webhook.",
    {
        "id": text("Also the `webhook-id` of its deliveries.", pattern="^evt_[b-v_]+$"),
        "type": one_of(*(of.wire for of in EVENT_TYPES.values())),
        "created_at": TIME,
        "object": text("Of what kind its object is, such as `payment_order`."),
        "object_id": text(),
        "sequence": {"type": "integer", "minimum": 1, "description": "Gapless for each object."},
        "data": {"type": "object", "description": "The object as it stood then."},
        "api_version": text(),
    },
)
_PAGE: Schema = record(
    "EventList",
    "A part of the feed, oldest first.",
    {
        "object": constant("list"),
        "data": {"type": "array", "items": EVENT},
        "has_more": {"type": "boolean"},
        "next_cursor": text("Where to go on, also when there is nothing more yet."),
    },
)
_PLACE = (DB_TRANSACTION_MAX, PARTITION_INDEX_MAX, ORDER_NO_MAX, SEQUENCE_MAX)
_CURSOR: Schema = {
    "type": "string",
    "pattern": f"^{'_'.join((CURSOR_PREFIX, *map(number_pattern, _PLACE)))}$",
}
_AFTER = Parameter(
    name="after",
    place="query",
    text="The feed's cursor: `next_cursor` of a page, or the id of a streamed event.",
    schema=_CURSOR,
)

LIST = Declaration(
    name="list_events",
    tag=Tag.EVENTS,
    summary="Read the feed",
    text="What came after a cursor, oldest first; without one from the beginning.",
    parameters=(LIMIT, _AFTER),
    answers=(Answered(status=200, text="A page.", schema=_PAGE),),
)
READ = Declaration(
    name="read_event",
    tag=Tag.EVENTS,
    summary="Read an event",
    parameters=(
        Parameter(
            name="id",
            place="path",
            text="The event's id.",
            schema={"type": "string", "minLength": 1},
        ),
    ),
    answers=(Answered(status=200, text="The event.", schema=EVENT),),
    problems=(Code.EVENT_NOT_FOUND,),
    examples=(
        Example(
            name="missing",
            text="An id that names no event",
            path={"id": event_id(EventKey(0, 0, 1))},
            status=404,
            answer=problem_answer(EVENT_NOT_FOUND),
        ),
    ),
)
STREAM = Declaration(
    name="stream_events",
    tag=Tag.EVENTS,
    summary="Be told at once",
    text="Server-sent events, for ever: from `Last-Event-ID`, or `after`, on; without them from now on.",
    parameters=(
        _AFTER,
        Parameter(
            name="Last-Event-ID",
            place="header",
            text="The last event that was seen.",
            schema=_CURSOR,
        ),
    ),
    answers=(
        Answered(
            status=200,
            text="The stream.",
            schema={"type": "string"},
            content_type="text/event-stream",
        ),
    ),
    problems=(Code.PARAMETER_INVALID, Code.TOO_MANY_STREAMS),
)
