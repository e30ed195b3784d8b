"""What there is to say of the disputes' routes; their handlers are in ``gateway.disputes``."""

from __future__ import annotations

from gateway.openapi.common import LIMIT, UUID_PATTERN, number_pattern
from gateway.openapi.declarations import (
    Answered,
    Declaration,
    Example,
    Parameter,
    Tag,
    problem_answer,
)
from gateway.payment_examples import KEY
from gateway.problems import Code, Problem
from payments.dispute_answer import DISPUTE_PREFIX, dispute_id
from payments.dispute_schema import DISPUTE, DISPUTE_LIST
from payments.disputes import DisputeState
from payments.identity import ORDER_NO_MAX, PARTITION_INDEX_MAX
from payments.json_schema import one_of

DISPUTE_NOT_FOUND = Problem(
    code=Code.DISPUTE_NOT_FOUND,
    detail="The books know no such dispute of this merchant and mode.",
)

_NUMBERS = "_".join(map(number_pattern, (PARTITION_INDEX_MAX, ORDER_NO_MAX)))
_CURSOR = {"type": "string", "pattern": f"^{DISPUTE_PREFIX}_{_NUMBERS}$"}

LIST = Declaration(
    name="list_disputes",
    tag=Tag.DISPUTES,
    summary="List disputes",
    text="Newest first. One cursor at most.",
    parameters=(
        LIMIT,
        Parameter(
            name="starting_after",
            place="query",
            text="The page after this dispute, which has to exist.",
            schema=_CURSOR,
        ),
        Parameter(
            name="ending_before",
            place="query",
            text="The page before this dispute, which has to exist.",
            schema=_CURSOR,
        ),
        Parameter(
            name="status",
            place="query",
            text="Only those that stand so.",
            schema=one_of(*(state.wire for state in DisputeState)),
        ),
        Parameter(
            name="payment",
            place="query",
            text="Only those of this payment; none of one that there is not.",
            schema={"type": "string", "pattern": f"^{UUID_PATTERN}$"},
        ),
    ),
    answers=(Answered(status=200, text="One page.", schema=DISPUTE_LIST),),
    examples=(
        Example(
            name="of_payment",
            text="Those of one payment",
            query={"payment": KEY, "limit": "3"},
            status=200,
            answer={"object": "list", "data": [], "has_more": False},
        ),
    ),
)
READ = Declaration(
    name="read_dispute",
    tag=Tag.DISPUTES,
    summary="Read a dispute",
    parameters=(
        Parameter(
            name="id",
            place="path",
            text="The dispute's id.",
            schema={"type": "string", "minLength": 1},
        ),
    ),
    answers=(Answered(status=200, text="As it stands now.", schema=DISPUTE),),
    problems=(Code.DISPUTE_NOT_FOUND,),
    examples=(
        Example(
            name="missing",
            text="No such dispute",
            path={"id": dispute_id(0, 0)},
            status=404,
            answer=problem_answer(DISPUTE_NOT_FOUND),
        ),
    ),
)
