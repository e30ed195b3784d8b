"""What there is to say of the payments' routes; their handlers are in ``gateway.payments``."""

from __future__ import annotations

from gateway.answer_schemas import CURRENCY_CODES, TRANSFER_LIST
from gateway.openapi.common import (
    APPLIED,
    IDEMPOTENCY_KEY,
    KEY_CHECK,
    LIMIT,
    PREFER,
    REPLAYED,
    STORABLE_TEXT,
    UUID_PATTERN,
)
from gateway.openapi.declarations import (
    Answered,
    Body,
    Declaration,
    Header,
    Link,
    Parameter,
    Tag,
)
from gateway.parameters import METADATA_FILTERS_MAX
from gateway.payment_examples import (
    CREATE_EXAMPLES,
    KEY,
    LIST_EXAMPLES,
    READ_EXAMPLES,
    TRANSFER_EXAMPLES,
)
from gateway.payment_requests import (
    METADATA_KEY_CHARACTERS_MAX,
    METADATA_VALUE_CHARACTERS_MAX,
    PaymentRequest,
)
from gateway.problems import PROBLEM_CONTENT_TYPE, Code
from payments.answer_schema import PAYMENT, PAYMENT_FAILED, PAYMENT_LIST
from payments.json_schema import Schema, one_of, text
from payments.lifecycle import PaymentState
from payments.money import AMOUNT_MINOR_MAX

_LOCATION = Header(
    name="Location",
    text="Where to read the payment.",
    schema={"type": "string", "pattern": f"^/v1/payments/{UUID_PATTERN}$"},
    is_required=True,
)
_LINKS = (
    Link(name="payment", operation="read_payment", parameters={"id": "$response.body#/id"}),
    Link(name="transfers", operation="list_transfers", parameters={"id": "$response.body#/id"}),
)

PAYMENT_ID = Parameter(
    name="id",
    place="path",
    text="The `Idempotency-Key` that the payment was posted with.",
    schema={"type": "string", "pattern": f'^(?:{UUID_PATTERN}|"{UUID_PATTERN}")$'},
    example=KEY,
)

CREATE = Declaration(
    name="create_payment",
    tag=Tag.PAYMENTS,
    summary="Take a payment order",
    text=(
        "The answer **freezes** when the order first ends, and is then the same byte for byte, also years later,"
        " with or without `Prefer`. A token of the sandbox, such as `tok_approve`, says what the simulated"
        " provider does; it needs a test key. A seller has to exist, else the answer is `seller_unknown`."
    ),
    parameters=(IDEMPOTENCY_KEY, PREFER),
    body=Body(of=PaymentRequest, text="The order. At most 64 KiB; no member twice."),
    answers=(
        Answered(
            status=201,
            text="It ended, other than by failing. Frozen.",
            schema=PAYMENT,
            headers=(_LOCATION, REPLAYED, APPLIED),
            links=_LINKS,
        ),
        Answered(
            status=202,
            text="It is stored on every copy promised, and runs. This is its present state.",
            schema=PAYMENT,
            headers=(_LOCATION, REPLAYED, KEY_CHECK, APPLIED),
            links=_LINKS,
        ),
        Answered(
            status=402,
            text="It failed. Frozen: a new try needs a new order.",
            schema=PAYMENT_FAILED,
            content_type=PROBLEM_CONTENT_TYPE,
            headers=(_LOCATION, REPLAYED, APPLIED),
        ),
    ),
    problems=(
        Code.AMOUNT_TOO_SMALL,
        Code.AMOUNT_TOO_LARGE,
        Code.CURRENCY_NOT_SUPPORTED,
        Code.SELLER_UNKNOWN,
        Code.PAYMENT_METHOD_INVALID,
        Code.SANDBOX_TOKEN_REFUSED,
        Code.CAPTURE_INVALID,
        Code.SPLITS_INVALID,
        Code.DESCRIPTION_TOO_LONG,
        Code.METADATA_INVALID,
        Code.BUYER_INVALID,
        Code.TEXT_INVALID,
        Code.IDEMPOTENCY_KEY_REUSED,
        Code.QUEUE_BACKPRESSURE,
    ),
    examples=CREATE_EXAMPLES,
)

READ = Declaration(
    name="read_payment",
    tag=Tag.PAYMENTS,
    summary="Read a payment",
    text="As it stands now, from the moment that it was accepted.",
    parameters=(PAYMENT_ID,),
    answers=(Answered(status=200, text="The payment.", schema=PAYMENT),),
    problems=(Code.PAYMENT_NOT_FOUND,),
    examples=READ_EXAMPLES,
)

_CURSOR: Schema = {"type": "string", "pattern": f'^(?:{UUID_PATTERN}|"{UUID_PATTERN}")$'}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_AMOUNT: Schema = {"type": "integer", "minimum": 0, "maximum": AMOUNT_MINOR_MAX}


def _filter(name: str, what: str, schema: Schema) -> Parameter:
    return Parameter(name=name, place="query", text=what, schema=schema)


LIST = Declaration(
    name="list_payments",
    tag=Tag.PAYMENTS,
    summary="List payments",
    text="Newest first. It shows what the books have taken in, which is some milliseconds after it was accepted.",
    parameters=(
        LIMIT,
        _filter("starting_after", "The page after this payment, which has to exist.", _CURSOR),
        _filter("ending_before", "The page before it; one of the two cursors at most.", _CURSOR),
        _filter("status", "Exactly this one.", one_of(*(state.wire for state in PaymentState))),
        _filter("currency", "Exactly this one.", CURRENCY_CODES),
        _filter("created[gte]", "From here on; write `+` as `%2B`.", _MOMENT),
        _filter("created[lt]", "Before here.", _MOMENT),
        _filter("amount[gte]", "At least, in minor units.", _AMOUNT),
        _filter("amount[lte]", "At most.", _AMOUNT),
        Parameter(
            name="metadata",
            place="query",
            text="The values of metadata keys, as in `metadata[cart]=c-9`.",
            is_deep_object=True,
            schema={
                "type": "object",
                "maxProperties": METADATA_FILTERS_MAX,
                "propertyNames": text(
                    minLength=1, maxLength=METADATA_KEY_CHARACTERS_MAX, pattern=STORABLE_TEXT
                ),
                "additionalProperties": text(
                    maxLength=METADATA_VALUE_CHARACTERS_MAX, pattern=STORABLE_TEXT
                ),
            },
        ),
    ),
    answers=(Answered(status=200, text="One page.", schema=PAYMENT_LIST),),
    examples=LIST_EXAMPLES,
)

LIST_TRANSFERS = Declaration(
    name="list_transfers",
    tag=Tag.PAYMENTS,
    summary="List a payment's transfers",
    text="Every movement of money of the payment, in order.",
    parameters=(PAYMENT_ID,),
    answers=(Answered(status=200, text="All of them.", schema=TRANSFER_LIST),),
    problems=(Code.PAYMENT_NOT_FOUND,),
    examples=TRANSFER_EXAMPLES,
)
