"""What there is to say of the request log's route; its handler is in ``gateway.requests``."""

from __future__ import annotations

from gateway.openapi.common import LIMIT, REQUEST_ID, UUID_PATTERN
from gateway.openapi.declarations import Answered, Declaration, Example, Parameter, Tag
from gateway.payment_examples import MISSING_KEY
from gateway.problems import Code
from payments.json_schema import TIME, Schema, constant, list_of, nullable, record, text

LOGGED: Schema = record(
    "LoggedRequest",
    "One request and its answer. Of bodies what may be personal is left out.",
    {
        "id": {**REQUEST_ID.schema, "description": "The answer's `Request-Id`."},
        "object": constant("request"),
        "method": text(),
        "route": text("The route's path, such as `/v1/payments/{id}`."),
        "status": {"type": "integer", "minimum": 100, "maximum": 599},
        "code": nullable(text("Of a problem.")),
        "idempotency_key": nullable(text(format="uuid")),
        "duration_ms": {"type": "number", "minimum": 0},
        "received_at": TIME,
        "path": {},
        "query": {},
        "request": {},
        "answer": {},
    },
    optional=("path", "query", "request", "answer"),
)
_PAGE: Schema = list_of(LOGGED)


def _id(name: str, what: str) -> Parameter:
    return Parameter(name=name, place="query", text=what, schema=REQUEST_ID.schema)


LIST = Declaration(
    name="list_requests",
    tag=Tag.REQUESTS,
    summary="Find a request",
    text=(
        "Newest first; behind `after` oldest first, so that one can follow. `request_id` and `after` are given"
        " alone. A deployment may keep no log: then the answer is `not_found`."
    ),
    parameters=(
        LIMIT,
        _id("request_id", "This one."),
        Parameter(
            name="idempotency_key",
            place="query",
            text="Those with this key.",
            schema={"type": "string", "pattern": f'^(?:{UUID_PATTERN}|"{UUID_PATTERN}")$'},
        ),
        _id("after", "What came after this one."),
        _id("starting_after", "The page after this one: what is older."),
    ),
    answers=(Answered(status=200, text="One page.", schema=_PAGE),),
    problems=(Code.NOT_FOUND,),
    examples=(
        Example(
            name="by_key",
            text="All that came under a key: nothing yet",
            query={"idempotency_key": MISSING_KEY},
            status=200,
            answer={"object": "list", "data": [], "has_more": False},
        ),
    ),
)
