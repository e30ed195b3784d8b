"""``/v1/payments``: take orders, show them, list them, and show their transfers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from aiohttp import web

from gateway import payment_declarations as declared
from gateway.authentication import Merchant
from gateway.bodies import decode_body, read_body
from gateway.door import Answer
from gateway.finding import NOT_FOUND, Finding, Found
from gateway.holding import HEADER_PREFERENCE_APPLIED, Holding
from gateway.open_requests import Decided
from gateway.openapi.declarations import documented
from gateway.parameters import cursor_unknown, payment_filter, single_parameters
from gateway.payment_checks import payment_refusal
from gateway.payment_requests import CAPTURE_MANUAL, PAYMENT_DECODER, PaymentRequest
from gateway.problems import Code, Problem, store_unavailable
from gateway.refusals import BOOKS_AWAY
from gateway.rendering import (
    json_bytes_response,
    payment_list_response,
    transfer_list_response,
)
from gateway.request_headers import prefer_wait_s, read_idempotency_key
from gateway.seller_cache import SellerCache
from gateway.settings import GatewaySettings
from gateway.split_requests import Splits, splits_shown, splits_with
from gateway.verdicts import verdict_answer
from payments import fingerprint
from payments.answer import API_VERSION, OrderView, payment_body
from payments.commands import HOSTED_METHOD, HostedPage, PaymentCommand
from payments.identity import order_bytes, parse_idempotency_key
from payments.partitioning import partition_index
from payments.splits import Split
from runtime.clock import Clock
from runtime.faults import StorageUnavailable
from storage.envelope import queue_entry
from storage.lookup_keys import OrderLookup
from storage.read_ports import CursorUnknown, PaymentQueries, SellerRecord
from storage.set_aside_orders import under_key
from storage.uuids import DriverUuid

_SELLER_UNKNOWN = Problem(
    code=Code.SELLER_UNKNOWN,
    detail="The merchant has no such seller in this mode. Create it with POST /v1/sellers.",
    param="$.seller",
)
_HOSTED_ALONE = Problem(
    code=Code.PAYMENT_METHOD_INVALID,
    detail="A payment page needs the URLs that it leads back to: POST /v1/checkouts with `hosted`.",
    param="$.payment_method",
)
_SELLERS_AWAY = store_unavailable(
    "The seller can't be looked up now. Nothing was kept.", may_run=False
)


class Party(NamedTuple):
    """Whose a payment's money is."""

    seller: SellerRecord
    """With splits the merchant's own."""
    splits: tuple[Split, ...] | None


class Payments:
    """The handlers of the payments' routes."""

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        clock: Clock,
        holding: Holding,
        finding: Finding,
        sellers: SellerCache,
        queries: PaymentQueries,
        reply_to: str,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._holding = holding
        self._finding = finding
        self._sellers = sellers
        self._queries = queries
        self._reply_to = reply_to

    @documented(declared.CREATE)
    async def create(self, request: web.Request, merchant: Merchant) -> Answer:
        """POST /v1/payments: 201, 202 or 402, or a refusal."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        key = read_idempotency_key(request.headers)
        if isinstance(key, Problem):
            return key
        body = await read_body(request, self._settings.body_s)
        if isinstance(body, Problem):
            return body
        wanted = decode_body(body, PAYMENT_DECODER, PaymentRequest.member_count)
        if isinstance(wanted, Problem):
            return wanted
        if wanted.payment_method.startswith(HOSTED_METHOD):
            return _HOSTED_ALONE
        refusal = payment_refusal(wanted, merchant.mode, self._settings.routes)
        if refusal is not None:
            return refusal
        party = self._party_at_hand(merchant, wanted) or await self.party(merchant, wanted)
        if isinstance(party, Problem):
            return party
        command = self.command(key, wanted, merchant, party)
        wait_s = self._holding.held_s(prefer_wait_s(request.headers))
        decided = await self.accept(command, wait_s)
        shown = splits_shown(wanted.splits, party.splits)
        answer = verdict_answer(decided, command, party.seller.seller_id, shown)
        if wait_s and isinstance(answer, web.Response):
            answer.headers[HEADER_PREFERENCE_APPLIED] = f"wait={wait_s}"
        return answer

    @documented(declared.READ)
    async def show(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/payments/{id}: the payment as it stands now."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        key = self._order_key(request, merchant)
        if key is None:
            return NOT_FOUND
        found = await self._finding.find(key)
        if isinstance(found, Problem):
            return found
        return json_bytes_response(payment_body(_shown(found, request)))

    @documented(declared.LIST)
    async def list_all(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/payments: one page, newest first."""
        wanted = payment_filter(request, merchant.merchant_id, merchant.mode)
        if isinstance(wanted, Problem):
            return wanted
        try:
            page = await self._queries.list_payments(merchant.merchant_no, merchant.mode, wanted)
        except CursorUnknown:
            return cursor_unknown(wanted)
        except StorageUnavailable:
            return BOOKS_AWAY
        return payment_list_response((order.shown for order in page.orders), has_more=page.has_more)

    @documented(declared.LIST_TRANSFERS)
    async def list_transfers(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/payments/{id}/transfers: every movement of money of the payment, in order."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        key = self._order_key(request, merchant)
        if key is None:
            return NOT_FOUND
        found = await self._finding.find(key)
        if isinstance(found, Problem):
            return found
        if found.order is None:
            return transfer_list_response(())
        try:
            return transfer_list_response(await self._queries.transfers(*key))
        except StorageUnavailable:
            return BOOKS_AWAY

    def accept(self, command: PaymentCommand, wait_s: int = 0) -> Awaitable[Decided]:
        """Return the verdict on an order, held for at most ``wait_s`` seconds until it settles."""
        index = partition_index(command.order_uuid, self._settings.partition_count)
        return self._holding.accept(queue_entry(command, index), wait_s)

    def _party_at_hand(self, merchant: Merchant, wanted: PaymentRequest) -> Party | None:
        """Return who gets the whole payment, if that is known without asking."""
        if wanted.splits is not None:
            return None
        wanted_id = _credited_id(merchant, wanted.seller)
        seller = self._sellers.at_hand(merchant.merchant_no, merchant.mode, wanted_id)
        return None if seller is None else Party(seller, None)

    async def party(self, merchant: Merchant, wanted: PaymentRequest) -> Party | Problem:
        """Return who gets what of a payment."""
        seller = await self._seller(merchant, wanted.seller)
        if isinstance(seller, Problem):
            return seller
        if wanted.splits is None:
            return Party(seller, None)
        splits = await self._splits(merchant, wanted.splits, wanted.currency)
        return splits if isinstance(splits, Problem) else Party(seller, splits)

    async def _seller(self, merchant: Merchant, seller_id: str | None) -> SellerRecord | Problem:
        """Return whose wallet is credited, or why nobody's is."""
        wanted_id = _credited_id(merchant, seller_id)
        try:
            seller = await self._sellers.seller(merchant.merchant_no, merchant.mode, wanted_id)
        except StorageUnavailable:
            return _SELLERS_AWAY
        return _SELLER_UNKNOWN if seller is None else seller

    async def _splits(
        self, merchant: Merchant, wanted: Splits, currency: str
    ) -> tuple[Split, ...] | Problem:
        """Return whose parts the charge has."""
        asked = await asyncio.gather(*(self._seller(merchant, split.seller) for split in wanted))
        sellers: list[SellerRecord] = []
        for position, seller in enumerate(asked):
            if isinstance(seller, Problem):
                is_placed = seller.param is not None
                return (
                    replace(seller, param=f"$.splits[{position}].seller") if is_placed else seller
                )
            sellers.append(seller)
        return splits_with(wanted, sellers, currency)

    def command(
        self,
        key: UUID,
        wanted: PaymentRequest,
        merchant: Merchant,
        party: Party,
        *,
        checkout: str | None = None,
        hosted: HostedPage | None = None,
    ) -> PaymentCommand:
        """Return the order as it crosses the queue. ``checkout``: the id of the one that it belongs to."""
        seller, splits = party
        if splits is None:
            fee_minor = seller.fee.fee_minor(wanted.amount, wanted.currency)
        else:
            fee_minor = sum(split.fee_minor for split in splits)
        now = self._clock.now()
        return PaymentCommand(
            order_uuid=_order_uuid(key, merchant),
            idempotency_key=key,
            merchant_no=merchant.merchant_no,
            merchant_id=merchant.merchant_id,
            mode=merchant.mode,
            seller_no=seller.seller_no,
            amount_minor=wanted.amount,
            currency=wanted.currency,
            fee_minor=fee_minor,
            payment_method=wanted.payment_method,
            description=wanted.description,
            buyer_json=wanted.buyer_json(),
            metadata_json=wanted.metadata_json(),
            fingerprint=fingerprint.fingerprint(
                wanted.fingerprint_fields(seller.seller_id, checkout),
                self._settings.fingerprint_key,
            ),
            # The queue and the books keep milliseconds; an answer must not show more.
            accepted_at=now - timedelta(microseconds=now.microsecond % 1_000),
            api_version=API_VERSION,
            reply_to=self._reply_to,
            captures_manually=wanted.capture == CAPTURE_MANUAL,
            hosted=hosted,
            splits=splits,
        )

    def _order_key(self, request: web.Request, merchant: Merchant) -> OrderLookup | None:
        key = parse_idempotency_key(request.match_info["id"])
        if key is None:
            return None
        order = _order_uuid(key, merchant)
        return OrderLookup(partition_index(order, self._settings.partition_count), order)


def _credited_id(merchant: Merchant, seller_id: str | None) -> str:
    """Return whose wallet is credited: the one named, else the merchant's own."""
    return merchant.merchant_id if seller_id is None else seller_id


def _order_uuid(key: UUID, merchant: Merchant) -> UUID:
    """Return the order's identity, in the driver's class: it is written out, hashed and compared many times."""
    return DriverUuid(order_bytes(merchant.merchant_id, merchant.mode, key))


def _shown(found: Found, request: web.Request) -> OrderView:
    """Return what a GET found; the path's key is the payment's."""
    key = parse_idempotency_key(request.match_info["id"])
    if found.order is None or key is None or not found.order.is_set_aside:
        return found.view
    return under_key(found.order, key)
