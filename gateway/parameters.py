"""Query parameters: read strictly. What the API does not know is refused, never ignored."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from uuid import UUID

from aiohttp import web

from gateway.payment_requests import METADATA_KEY_CHARACTERS_MAX, METADATA_VALUE_CHARACTERS_MAX
from gateway.problems import Code, Problem
from payments.currencies import EXPONENTS
from payments.identity import order_uuid, parse_idempotency_key
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.money import AMOUNT_MINOR_MAX
from storage.read_ports import PaymentFilter

LIMIT_DEFAULT = 10
LIMIT_MAX = 100
# More filters on metadata at once have no use, and each costs the database work.
METADATA_FILTERS_MAX = 5

_PAYMENT_PARAMETERS = frozenset(
    {
        "limit",
        "starting_after",
        "ending_before",
        "status",
        "currency",
        "created[gte]",
        "created[lt]",
        "amount[gte]",
        "amount[lte]",
    }
)
_STATES_TOLD = f"This is no state of a payment: {', '.join(state.wire for state in PaymentState)}."
_METADATA_PARAMETER = re.compile(r"metadata\[(.+)\]", re.DOTALL)
_FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)
_LAST_MOMENT = datetime.max.replace(tzinfo=UTC)
_WHOLE_NUMBER = re.compile(r"[0-9]{1,16}", re.ASCII)
_PLAIN_NAME = re.compile(r"[A-Za-z_\[\]]{1,40}")


class _Invalid(Exception):
    """Ends the reading of parameters; never leaves this module."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(name)
        self.name = name
        self.detail = detail


def single_parameters(
    request: web.Request, known: Collection[str], *, takes_metadata: bool = False
) -> Mapping[str, str] | Problem:
    """Return the parameters, each given once and each known; or filters on metadata, where taken."""
    if "?" not in request.raw_path:
        return {}
    query = request.rel_url.query
    for name in query:
        is_filter = takes_metadata and _METADATA_PARAMETER.fullmatch(name) is not None
        if name not in known and not is_filter:
            return Problem(
                code=Code.PARAMETER_UNKNOWN,
                detail="This route has no such query parameter.",
                param=_place(name),
            )
    if len(query) != len(set(query)):
        repeated = next(name for name in query if len(query.getall(name)) > 1)
        return Problem(
            code=Code.PARAMETER_INVALID,
            detail="A query parameter is given more than once.",
            param=_place(repeated),
        )
    return query


def read_limit(parameters: Mapping[str, str]) -> int | Problem:
    """Return how many items a page shall have."""
    try:
        return _limit(parameters)
    except _Invalid as invalid:
        return _problem(invalid)


def payment_filter(request: web.Request, merchant_id: str, mode: Mode) -> PaymentFilter | Problem:
    """Return which payments a list shall show."""
    parameters = single_parameters(request, _PAYMENT_PARAMETERS, takes_metadata=True)
    if isinstance(parameters, Problem):
        return parameters
    try:
        return _payment_filter(parameters, merchant_id, mode)
    except _Invalid as invalid:
        return _problem(invalid)


def cursor_problem(name: str, detail: str) -> Problem:
    """Return the problem of a cursor that can't be used."""
    return Problem(code=Code.PARAMETER_INVALID, detail=detail, param=f"query:{name}")


def cursor_unknown(wanted: PaymentFilter) -> Problem:
    """Return the problem of a list whose cursor names nothing."""
    name = "ending_before" if wanted.starting_after is None else "starting_after"
    return Problem(
        code=Code.PARAMETER_INVALID,
        detail="The cursor names no payment of this merchant and mode.",
        param=f"query:{name}",
    )


def _payment_filter(parameters: Mapping[str, str], merchant_id: str, mode: Mode) -> PaymentFilter:
    after = _cursor(parameters, "starting_after")
    before = _cursor(parameters, "ending_before")
    if after is not None and before is not None:
        raise _Invalid("ending_before", "Give starting_after or ending_before, not both.")
    status = parameters.get("status")
    if status is not None and PaymentState.from_wire(status) is None:
        raise _Invalid("status", _STATES_TOLD)
    currency = parameters.get("currency")
    if currency is not None and currency not in EXPONENTS:
        raise _Invalid("currency", "This is no upper-case ISO 4217 currency.")
    return PaymentFilter(
        status=status,
        currency=currency,
        created_gte=_moment(parameters, "created[gte]"),
        created_lt=_moment(parameters, "created[lt]"),
        amount_gte_minor=_amount(parameters, "amount[gte]"),
        amount_lte_minor=_amount(parameters, "amount[lte]"),
        metadata=_metadata(parameters) or None,
        starting_after=None if after is None else order_uuid(merchant_id, mode, after),
        ending_before=None if before is None else order_uuid(merchant_id, mode, before),
        count_max=_limit(parameters),
    )


def _limit(parameters: Mapping[str, str]) -> int:
    text = parameters.get("limit")
    if text is None:
        return LIMIT_DEFAULT
    if _WHOLE_NUMBER.fullmatch(text) is None or not 1 <= int(text) <= LIMIT_MAX:
        raise _Invalid("limit", f"The limit must be a whole number from 1 to {LIMIT_MAX}.")
    return int(text)


def _cursor(parameters: Mapping[str, str], name: str) -> UUID | None:
    text = parameters.get(name)
    if text is None:
        return None
    key = parse_idempotency_key(text)
    if key is None:
        raise _Invalid(name, "The cursor must be the id of a payment.")
    return key


def _amount(parameters: Mapping[str, str], name: str) -> int | None:
    text = parameters.get(name)
    if text is None:
        return None
    if _WHOLE_NUMBER.fullmatch(text) is None or int(text) > AMOUNT_MINOR_MAX:
        raise _Invalid(name, "The amount must be a whole number of minor units.")
    return int(text)


def _moment(parameters: Mapping[str, str], name: str) -> datetime | None:
    text = parameters.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _Invalid(name, "The time must be RFC 3339, such as 2026-11-01T12:00:00Z.") from None
    if moment.tzinfo is None:
        raise _Invalid(name, "The time needs its offset from UTC, such as Z.")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        # A few hours before the first moment that can be told, or after the last: nothing lies between.
        return _FIRST_MOMENT if moment.year == 1 else _LAST_MOMENT


def _metadata(parameters: Mapping[str, str]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for name, value in parameters.items():
        match = _METADATA_PARAMETER.fullmatch(name)
        if match is None:
            continue
        key = match[1]
        if len(key) > METADATA_KEY_CHARACTERS_MAX or len(value) > METADATA_VALUE_CHARACTERS_MAX:
            raise _Invalid("metadata", "The key or value is longer than metadata can be.")
        if not (_is_storable(key) and _is_storable(value)):
            raise _Invalid("metadata", "The key or value holds what metadata can't hold.")
        wanted[key] = value
    if len(wanted) > METADATA_FILTERS_MAX:
        raise _Invalid("metadata", f"At most {METADATA_FILTERS_MAX} metadata filters at once.")
    return wanted


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _place(name: str) -> str:
    """Return where a parameter lies; a name that is not plain is the client's, and not repeated."""
    return f"query:{name}" if _PLAIN_NAME.fullmatch(name) is not None else "query"


def _problem(invalid: _Invalid) -> Problem:
    return Problem(
        code=Code.PARAMETER_INVALID, detail=invalid.detail, param=f"query:{invalid.name}"
    )
