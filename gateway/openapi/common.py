"""What routes have in common: parameters, headers, and the problems that follow from how a route is built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.openapi.declarations import Access, Declaration, Header, Parameter
from gateway.problems import Code
from gateway.request_headers import HEADER_IDEMPOTENCY_KEY
from payments.answer import API_VERSION, API_VERSIONS
from payments.identity import LETTERS
from payments.json_schema import Schema, record

# What a header's value can be (RFC 9110, section 5.5): anything else is no HTTP, whatever the header says.
FIELD_TEXT = r"^[\t -~\x80-\xff]*$"
UUID_PATTERN = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
# A text that a database can hold to its end.
STORABLE_TEXT = r"^[^\x00]*$"

_DIGITS = f"[{LETTERS}]"
_REQUEST_ID = f"req_{_DIGITS}{{32}}"


def number_pattern(number_max: int) -> str:
    """Return the pattern of a number in an id of ours: letters for digits, one spelling each.

    ``number_max`` is one below a power of two: the largest that is kept.
    """
    digits = f"{number_max:x}"
    first_of_longest = f"[{LETTERS[1 : int(digits[0], 16) + 1]}]"
    rest = len(digits) - 1
    shorter = f"[{LETTERS[1:]}]{_DIGITS}{{0,{rest - 1}}}" if rest > 0 else f"[{LETTERS[1:]}]"
    return f"(?:{LETTERS[0]}|{shorter}|{first_of_longest}{_DIGITS}{{{rest}}})"


IDEMPOTENCY_KEY = Parameter(
    name=HEADER_IDEMPOTENCY_KEY,
    place="header",
    text=(
        "A UUID of your own, bare or in double quotes: the name of what you ask for, and of a payment its id, too. It"
        " makes retries safe: send the same request under the same key as often as you like."
    ),
    schema={"type": "string", "pattern": f'^(?:{UUID_PATTERN}|"{UUID_PATTERN}")$'},
    is_required=True,
    example="6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11",
)
PREFER = Parameter(
    name="Prefer",
    place="header",
    text=(
        "`wait=N` holds the answer for the outcome, for N seconds, at most 30 (RFC 7240). What can't be read"
        " is passed over."
    ),
    schema={"type": "string", "pattern": FIELD_TEXT},
    example="wait=10",
)
TRACEPARENT = Parameter(
    name="traceparent",
    place="header",
    text=(
        "Taken. A well-formed one (W3C Trace Context) is exempt from the search for card numbers; an"
        " ill-formed one is searched as any header is, and not refused for its form."
    ),
    schema={"type": "string", "pattern": FIELD_TEXT},
)
VERSION = Parameter(
    name="Tallystick-Version",
    place="header",
    text="The version of the API that you were written for.",
    schema={"type": "string", "enum": sorted(API_VERSIONS)},
    example=API_VERSION,
)
LIMIT = Parameter(
    name="limit",
    place="query",
    text="How many items a page has; 10 when left out.",
    schema={"type": "integer", "minimum": 1, "maximum": 100},
    example=10,
)

REQUEST_ID = Header(
    name="Request-Id",
    text="Tell it to us when something is wrong.",
    schema={"type": "string", "pattern": f"^{_REQUEST_ID}$"},
    is_required=True,
)
VERSION_ANSWERED = Header(
    name="Tallystick-Version",
    text="The version that answered.",
    schema={"type": "string", "enum": sorted(API_VERSIONS)},
    is_required=True,
)
RETRY_AFTER = Header(
    name="Retry-After",
    text="Seconds.",
    schema={"type": "integer", "minimum": 0},
    is_required=True,
)
WWW_AUTHENTICATE = Header(
    name="WWW-Authenticate",
    text="How to authenticate (RFC 6750).",
    schema={"type": "string"},
    is_required=True,
)

REPLAYED = Header(
    name="Idempotent-Replayed",
    text="The key was used before with the same request: this is that order.",
    schema={"type": "string", "const": "true"},
)
KEY_CHECK = Header(
    name="Tallystick-Key-Check",
    text="Accepted, but the books could not be asked whether the key was used before.",
    schema={"type": "string", "const": "deferred"},
)
APPLIED = Header(
    name="Preference-Applied",
    text="The answer was held, or would have been.",
    schema={"type": "string", "pattern": FIELD_TEXT},
)

PROBLEM: Schema = record(
    "Problem",
    "A refusal or a failure (RFC 9457). `type` leads to a page that says what it means and what to do.",
    {
        "type": {"type": "string", "pattern": "^/docs/problems#[a-z_]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "instance": {"type": "string", "pattern": f"^urn:tallystick:request:{_REQUEST_ID}$"},
        "code": {"type": "string", "description": "Stable; one HTTP status each."},
        "param": {
            "type": "string",
            "description": "Where it lies: a JSON path, `header:…`, `query:…`.",
        },
        "retryable": {
            "type": "boolean",
            "description": "Whether the very same request may succeed later.",
        },
        "request_id": {"type": "string"},
        "details": {"type": "object", "additionalProperties": True},
    },
    optional=("param", "details"),
)

_OF_ALL = (
    Code.REQUEST_MALFORMED,
    Code.EXPECTATION_FAILED,
    Code.PAN_NOT_ACCEPTED,
    Code.INTERNAL_ERROR,
)
_OF_ACCESS: Mapping[Access, tuple[Code, ...]] = {
    Access.PUBLIC: (),
    Access.MERCHANT: (
        Code.API_KEY_MISSING,
        Code.API_KEY_INVALID,
        Code.MERCHANT_KEY_REQUIRED,
        Code.VERSION_UNKNOWN,
        Code.STORE_UNAVAILABLE,
    ),
    Access.OPERATOR: (
        Code.API_KEY_MISSING,
        Code.API_KEY_INVALID,
        Code.OPERATOR_KEY_REQUIRED,
        Code.STORE_UNAVAILABLE,
    ),
}
_OF_BODIES = (
    Code.JSON_INVALID,
    Code.REQUEST_TIMEOUT,
    Code.BODY_TOO_LARGE,
    Code.CONTENT_TYPE_UNSUPPORTED,
)
_OF_DECODED_BODIES = (
    Code.JSON_MEMBER_REPEATED,
    Code.FIELD_UNKNOWN,
    Code.FIELD_MISSING,
    Code.FIELD_TYPE_INVALID,
    Code.AMOUNT_TOO_LARGE,
)
_OF_KEYS = (Code.IDEMPOTENCY_KEY_MISSING, Code.IDEMPOTENCY_KEY_INVALID)

_HEADERS_OF_STATUS: Mapping[int, tuple[Header, ...]] = {
    401: (WWW_AUTHENTICATE,),
    429: (RETRY_AFTER,),
    503: (RETRY_AFTER,),
}


def parameters_of(declaration: Declaration, access: Access) -> tuple[Parameter, ...]:
    """Return a declaration's own parameters, and those of everybody who calls with such a key."""
    of_everybody = (VERSION, TRACEPARENT) if access is Access.MERCHANT else ()
    return (*declaration.parameters, *of_everybody)


def problems_of(declaration: Declaration, access: Access) -> Mapping[int, list[Code]]:
    """Return every problem that a route can answer, by status: its own, and those of how it is built."""
    codes: set[Code] = {*declaration.problems, *_OF_ALL, *_OF_ACCESS[access]}
    if declaration.refuses_unknown_parameters:
        codes.add(Code.PARAMETER_UNKNOWN)
    if any(parameter.place == "query" for parameter in declaration.parameters):
        codes.add(Code.PARAMETER_INVALID)
    if IDEMPOTENCY_KEY in declaration.parameters:
        codes.update(_OF_KEYS)
    if declaration.body is not None:
        codes.update(_OF_BODIES)
        if isinstance(declaration.body.of, type):
            codes.update(_OF_DECODED_BODIES)
    return _by_status(codes)


def headers_of(status: int, own: Iterable[Header] = ()) -> tuple[Header, ...]:
    """Return the headers of an answer with that status, those that every answer has included."""
    return (REQUEST_ID, VERSION_ANSWERED, *_HEADERS_OF_STATUS.get(status, ()), *own)


def _by_status(codes: Iterable[Code]) -> Mapping[int, list[Code]]:
    found: dict[int, list[Code]] = {}
    for code in Code:
        if code in codes:
            found.setdefault(code.value.status, []).append(code)
    return dict(sorted(found.items()))
