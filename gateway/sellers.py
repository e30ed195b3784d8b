"""``/v1/sellers``: whose wallets a merchant's payments credit."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from aiohttp import web

from gateway.answer_schemas import CURRENCY_CODES, SELLER, SELLER_LIST
from gateway.authentication import Merchant
from gateway.bodies import decode_body, read_body
from gateway.door import Answer
from gateway.openapi.common import LIMIT, STORABLE_TEXT
from gateway.openapi.declarations import (
    Answered,
    Body,
    Declaration,
    Example,
    Link,
    Parameter,
    Tag,
    documented,
    problem_answer,
    rule,
)
from gateway.parameters import read_limit, single_parameters
from gateway.payment_checks import zero_character_refusal
from gateway.problems import Code, Problem, store_unavailable
from gateway.rendering import json_response, seller_document
from gateway.seller_cache import SellerCache
from gateway.settings import GatewaySettings
from payments.fees import FIXED_MINOR_MAX, FeeSchedule, fee_schedule_refusal
from payments.identity import (
    MERCHANT_ID_PREFIX,
    SELLER_ID_LENGTH_MAX,
    SELLER_ID_LENGTH_MIN,
    is_seller_id,
)
from payments.money import BASIS_POINTS_PER_WHOLE
from runtime.faults import StorageUnavailable
from storage.read_ports import Directory, SellerExists

NAME_CHARACTERS_MAX = 200

_PLAIN_PATH = re.compile(r"\$[.A-Za-z_]{1,60}")
_DIRECTORY_AWAY = store_unavailable("Sellers can't be read now.", may_run=False)
_CREATION_UNCERTAIN = store_unavailable(
    "The seller may or may not have been created. Send the same request again: if it was, the"
    " answer is seller_exists.",
    may_run=True,
)
_EXISTS = Problem(
    code=Code.SELLER_EXISTS, detail="This id is taken by a seller of yours.", param="$.id"
)

_CURSOR_UNKNOWN = Problem(
    code=Code.PARAMETER_INVALID,
    detail="The cursor names no seller of this merchant and mode.",
    param="query:starting_after",
)


# `me` is too short for an id, and needs no word here.
_ID_PATTERN = (
    rf"^(?!{MERCHANT_ID_PREFIX})[a-z][a-z0-9_.-]"
    rf"{{{SELLER_ID_LENGTH_MIN - 1},{SELLER_ID_LENGTH_MAX - 1}}}$"
)
_FIXED = rule("In minor units.", minimum=0, maximum=FIXED_MINOR_MAX)


class FeeBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A fee: basis points of the amount, and a fixed part a currency in minor units."""

    basis_points: Annotated[int, rule(minimum=0, maximum=BASIS_POINTS_PER_WHOLE)]
    fixed: Annotated[
        dict[str, Annotated[int, _FIXED]],
        rule("By currency.", propertyNames=CURRENCY_CODES),
    ] = {}
    fixed_default: Annotated[int, _FIXED] = 0


class SellerRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """The body of ``POST /v1/sellers``. Without a fee the merchant's own applies."""

    id: Annotated[str, rule("Your own name for it.", pattern=_ID_PATTERN)]
    name: Annotated[str, rule(minLength=1, maxLength=NAME_CHARACTERS_MAX, pattern=STORABLE_TEXT)]
    fee: FeeBody | None = None


_DECODER = msgspec.json.Decoder(SellerRequest)

_EXAMPLE = {
    "id": "slr_shoes",
    "object": "seller",
    "name": "Shoes",
    "fee": {"basis_points": 290, "fixed": {"USD": 30}},
    "created_at": "2026-11-01T12:00:00.000Z",
}
_REQUEST = {
    "id": "slr_shoes",
    "name": "Shoes",
    "fee": {"basis_points": 290, "fixed": {"USD": 30}},
}
_OWN_FEE = {"basis_points": 290, "fixed": {}, "fixed_default": 30}
_CREATE = Declaration(
    name="create_seller",
    tag=Tag.SELLERS,
    summary="Create a seller",
    text="In the key's mode. Without a fee the merchant's own applies.",
    body=Body(of=SellerRequest, text="The seller."),
    answers=(
        Answered(
            status=201,
            text="The seller.",
            schema=SELLER,
            links=(
                Link(
                    name="wallet",
                    operation="read_wallet",
                    parameters={"owner": "$response.body#/id"},
                ),
            ),
        ),
    ),
    problems=(Code.SELLER_INVALID, Code.SELLER_EXISTS, Code.FEE_INVALID, Code.TEXT_INVALID),
    examples=(
        Example(
            name="with_fee",
            text="With a fee of its own",
            body=_REQUEST,
            status=201,
            answer=_EXAMPLE,
        ),
        Example(
            name="without_fee",
            text="With the merchant's fee",
            body={"id": "slr_books", "name": "Books"},
            status=201,
            answer={**_EXAMPLE, "id": "slr_books", "name": "Books", "fee": _OWN_FEE},
        ),
        Example(
            name="taken",
            text="An id that is taken",
            body=_REQUEST,
            status=409,
            answer=problem_answer(_EXISTS),
        ),
    ),
)
_LIST = Declaration(
    name="list_sellers",
    tag=Tag.SELLERS,
    summary="List sellers",
    text="By id. The merchant's own wallet is one of them.",
    parameters=(
        LIMIT,
        Parameter(
            name="starting_after",
            place="query",
            text="The page after this seller, which has to exist.",
            schema={"type": "string"},
        ),
    ),
    answers=(Answered(status=200, text="One page.", schema=SELLER_LIST),),
    examples=(
        Example(
            name="first",
            text="The first of them",
            query={"limit": "1"},
            status=200,
            answer={
                "object": "list",
                "data": [
                    {
                        "id": "mrc_bcdfghjkmnpqrstvbcdf",
                        "object": "seller",
                        "name": "Test shop",
                        "fee": _OWN_FEE,
                        "created_at": "2026-11-01T12:00:00.000Z",
                    }
                ],
                "has_more": True,
            },
        ),
        Example(
            name="lost",
            text="A cursor that names no seller",
            query={"starting_after": "slr_hats"},
            status=400,
            answer=problem_answer(_CURSOR_UNKNOWN),
        ),
    ),
)


class Sellers:
    """The handlers of the sellers' routes."""

    def __init__(
        self, directory: Directory, sellers: SellerCache, settings: GatewaySettings
    ) -> None:
        self._directory = directory
        self._sellers = sellers
        self._settings = settings

    @documented(_CREATE)
    async def create(self, request: web.Request, merchant: Merchant) -> Answer:
        """POST /v1/sellers: 201, or 409 when the id is taken."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        body = await read_body(request, self._settings.body_s)
        if isinstance(body, Problem):
            return body
        wanted = decode_body(body, _DECODER)
        if isinstance(wanted, Problem):
            return wanted
        refusal = _seller_refusal(wanted)
        if refusal is not None:
            return refusal
        try:
            fee = await self._fee(wanted.fee, merchant)
        except StorageUnavailable:
            return _DIRECTORY_AWAY
        if isinstance(fee, Problem):
            return fee
        try:
            seller = await self._directory.create_seller(
                merchant.merchant_no, merchant.mode, wanted.id, wanted.name, fee
            )
        except SellerExists:
            return _EXISTS
        except StorageUnavailable:
            return _CREATION_UNCERTAIN
        self._sellers.created(merchant.merchant_no, merchant.mode, seller)
        return json_response(seller_document(seller), 201)

    @documented(_LIST)
    async def list_all(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/sellers: one page, ordered by id."""
        parameters = single_parameters(request, ("limit", "starting_after"))
        if isinstance(parameters, Problem):
            return parameters
        limit = read_limit(parameters)
        if isinstance(limit, Problem):
            return limit
        after = parameters.get("starting_after")
        merchant_no, mode = merchant.merchant_no, merchant.mode
        try:
            if after is not None and await self._sellers.seller(merchant_no, mode, after) is None:
                return _CURSOR_UNKNOWN
            sellers, has_more = await self._directory.sellers(
                merchant_no, mode, starting_after=after, count_max=limit
            )
        except StorageUnavailable:
            return _DIRECTORY_AWAY
        data = [seller_document(seller) for seller in sellers]
        return json_response({"object": "list", "data": data, "has_more": has_more})

    async def _fee(self, wanted: FeeBody | None, merchant: Merchant) -> FeeSchedule | Problem:
        if wanted is not None:
            document = msgspec.to_builtins(wanted)
            refusal = fee_schedule_refusal(document)
            return FeeSchedule.from_json(document) if refusal is None else _fee_problem(*refusal)
        own = await self._sellers.seller(merchant.merchant_no, merchant.mode, merchant.merchant_id)
        if own is None:
            return Problem(
                code=Code.FIELD_MISSING, detail="The merchant has no fee of its own.", param="$.fee"
            )
        return own.fee


def _seller_refusal(wanted: SellerRequest) -> Problem | None:
    if not is_seller_id(wanted.id):
        return Problem(
            code=Code.SELLER_INVALID,
            detail=(
                f"A seller's id has {SELLER_ID_LENGTH_MIN} to {SELLER_ID_LENGTH_MAX} characters of"
                " a-z 0-9 _ . -, a letter first, and is neither `me` nor `mrc_…`."
            ),
            param="$.id",
        )
    if not 1 <= len(wanted.name) <= NAME_CHARACTERS_MAX:
        return Problem(
            code=Code.SELLER_INVALID,
            detail=f"A seller's name has 1 to {NAME_CHARACTERS_MAX} characters.",
            param="$.name",
        )
    return zero_character_refusal(wanted.name, "$.name")


def _fee_problem(path: str, reason: str) -> Problem:
    """Return the problem of a fee; a path with a made-up currency in it is cut."""
    param = path if _PLAIN_PATH.fullmatch(path) is not None else "$.fixed"
    return Problem(
        code=Code.FEE_INVALID, detail=f"This {reason}.", param=param.replace("$", "$.fee", 1)
    )
