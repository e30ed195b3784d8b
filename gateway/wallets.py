"""``/v1/wallets/{owner}``: what a seller may have of us."""

from __future__ import annotations

from aiohttp import web

from gateway.answer_schemas import WALLET
from gateway.authentication import Merchant
from gateway.door import Answer
from gateway.openapi.declarations import (
    Answered,
    Declaration,
    Example,
    Parameter,
    Tag,
    documented,
    problem_answer,
)
from gateway.parameters import single_parameters
from gateway.problems import Code, Problem, store_unavailable
from gateway.rendering import json_response, wallet_document
from gateway.seller_cache import SellerCache
from runtime.faults import StorageUnavailable
from storage.read_ports import PaymentQueries

OWNER_ME = "me"

_NOT_FOUND = Problem(
    code=Code.WALLET_NOT_FOUND, detail="The merchant has no such seller in this mode."
)
_BOOKS_AWAY = store_unavailable("The books can't be read now.", may_run=False)


_SHOW = Declaration(
    name="read_wallet",
    tag=Tag.WALLETS,
    summary="Read a wallet",
    text="Balances by currency.",
    parameters=(
        Parameter(
            name="owner",
            place="path",
            text=f"A seller's id, or `{OWNER_ME}` for the merchant's own wallet.",
            schema={"type": "string", "minLength": 1},
            example="slr_shoes",
        ),
    ),
    answers=(Answered(status=200, text="The wallet.", schema=WALLET),),
    problems=(Code.WALLET_NOT_FOUND,),
    examples=(
        Example(
            name="of_a_seller",
            text="A seller's wallet after two payments",
            path={"owner": "slr_shoes"},
            status=200,
            answer={
                "object": "wallet",
                "owner": "slr_shoes",
                "balances": [{"currency": "USD", "posted": 3822, "pending": 0, "available": 3822}],
                "as_of": "2026-11-01T12:00:01.000Z",
            },
        ),
        Example(
            name="missing",
            text="An owner that there is not",
            path={"owner": "slr_hats"},
            status=404,
            answer=problem_answer(_NOT_FOUND),
        ),
    ),
)


class Wallets:
    """The handler of the wallets' route."""

    def __init__(self, queries: PaymentQueries, sellers: SellerCache) -> None:
        self._queries = queries
        self._sellers = sellers

    @documented(_SHOW)
    async def show(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/wallets/{owner}: balances by currency. ``me`` is the merchant's own wallet."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        owner = request.match_info["owner"]
        seller_id = merchant.merchant_id if owner == OWNER_ME else owner
        try:
            seller = await self._sellers.seller(merchant.merchant_no, merchant.mode, seller_id)
            if seller is None:
                return _NOT_FOUND
            wallet = await self._queries.wallet(
                merchant.merchant_no, merchant.mode, seller.seller_no
            )
        except StorageUnavailable:
            return _BOOKS_AWAY
        return json_response(wallet_document(seller_id, wallet))
