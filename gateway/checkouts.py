"""``/v1/checkouts``: take a buyer event with one or more orders, show it, list it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from aiohttp import web

from gateway import checkout_declarations as declared
from gateway.authentication import Merchant
from gateway.bodies import read_body
from gateway.checkout_placing import Placed, Placing, not_all_stored, order_of
from gateway.checkout_rendering import (
    checkout_body,
    checkout_list_response,
    checkout_response,
    reused_view,
    stored_view,
    unaccepted_view,
    verdict_view,
)
from gateway.checkout_requests import WantedCheckout, at_order, read_checkout
from gateway.door import Answer
from gateway.finding import NOT_FOUND, Finding
from gateway.holding import HEADER_PREFERENCE_APPLIED, Holding
from gateway.idempotency import Verdict
from gateway.lookups import LOOKUP_KEYS_MAX
from gateway.openapi.declarations import documented
from gateway.parameters import cursor_problem, read_limit, single_parameters
from gateway.payments import Party, Payments
from gateway.problems import Problem, store_unavailable
from gateway.refusals import BOOKS_AWAY
from gateway.rendering import json_bytes_response
from gateway.request_headers import prefer_wait_s, read_idempotency_key
from gateway.settings import GatewaySettings
from gateway.split_requests import splits_shown
from payments import fingerprint
from payments.answer import OrderView
from payments.checkout_names import checkout_id, checkout_uuid, parse_checkout_id
from payments.checkouts import Checkout, CheckoutOrder, checkout_fingerprint
from payments.commands import HostedPage, PaymentCommand
from payments.partitioning import partition_index
from runtime.faults import StorageUnavailable
from storage.checkouts import CheckoutPage, CheckoutQueries
from storage.lookup_keys import OrderLookup
from storage.read_ports import CursorUnknown, PaymentQueries, StoredOrder

_CANT_TELL = store_unavailable("Whether this checkout exists can't be told now.", may_run=True)


class Checkouts:
    """The handlers of the checkouts' routes."""

    def __init__(
        self,
        payments: Payments,
        placing: Placing,
        finding: Finding,
        holding: Holding,
        *,
        settings: GatewaySettings,
        queries: PaymentQueries,
        checkouts: CheckoutQueries,
        reply_to: str,
    ) -> None:
        self._payments = payments
        self._placing = placing
        self._finding = finding
        self._holding = holding
        self._settings = settings
        self._queries = queries
        self._checkouts = checkouts
        self._reply_to = reply_to

    @documented(declared.CREATE)
    async def create(self, request: web.Request, merchant: Merchant) -> Answer:
        """POST /v1/checkouts: 201 once every order has ended, 202 until then, or a refusal."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        key = read_idempotency_key(request.headers)
        if isinstance(key, Problem):
            return key
        body = await read_body(request, self._settings.body_s)
        if isinstance(body, Problem):
            return body
        wanted = read_checkout(body, merchant.mode, self._settings.routes)
        if isinstance(wanted, Problem):
            return wanted
        parties = await self._parties(merchant, wanted)
        if isinstance(parties, Problem):
            return parties
        sellers = [party.seller for party in parties]
        uuid = checkout_uuid(merchant.merchant_id, merchant.mode, key)
        commands = self._commands(checkout_id(uuid), wanted, merchant, parties)
        first = commands[0]
        checkout = Checkout(
            checkout_uuid=uuid,
            idempotency_key=key,
            merchant_no=merchant.merchant_no,
            merchant_id=merchant.merchant_id,
            mode=merchant.mode,
            orders=tuple(map(order_of, commands, sellers)),
            success_url=None if first.hosted is None else first.hosted.success_url,
            cancel_url=None if first.hosted is None else first.hosted.cancel_url,
            metadata_json=first.metadata_json,
            fingerprint=checkout_fingerprint(
                wanted.fingerprint_fields([seller.seller_id for seller in sellers]),
                self._settings.fingerprint_key,
            ),
            accepted_at=first.accepted_at,
            api_version=first.api_version,
            reply_to=self._reply_to,
        )
        placed = await self._placing.place(checkout, commands)
        if isinstance(placed, Problem):
            return placed
        shown = list(map(splits_shown, wanted.splits, (party.splits for party in parties)))
        return await self._run(placed, commands, shown, prefer_wait_s(request.headers))

    @documented(declared.READ)
    async def show(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/checkouts/{id}: the checkout as it stands now."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        uuid = parse_checkout_id(request.match_info["id"])
        try:
            checkout = None if uuid is None else await self._placing.find(uuid)
        except (StorageUnavailable, TimeoutError):
            return _CANT_TELL
        whose = (merchant.merchant_no, merchant.mode)
        if checkout is None or (checkout.merchant_no, checkout.mode) != whose:
            return declared.CHECKOUT_NOT_FOUND
        views = await asyncio.gather(
            *(self._found(checkout, *each) for each in self._with_keys(checkout))
        )
        shown = [view for view in views if not isinstance(view, Problem)]
        if len(shown) < len(views):
            return _CANT_TELL
        return json_bytes_response(checkout_body(checkout, shown))

    @documented(declared.LIST)
    async def list_all(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/checkouts: one page, newest first."""
        parameters = single_parameters(request, ("limit", "starting_after", "ending_before"))
        if isinstance(parameters, Problem):
            return parameters
        limit = read_limit(parameters)
        if isinstance(limit, Problem):
            return limit
        cursors = [name for name in ("starting_after", "ending_before") if name in parameters]
        if len(cursors) > 1:
            return cursor_problem("ending_before", "Give one cursor, not both.")
        page, name = CheckoutPage(limit), ""
        for name in cursors:
            uuid = parse_checkout_id(parameters[name])
            if uuid is None:
                return cursor_problem(name, "The cursor must be the id of a checkout.")
            edge, is_after = self._placing.key_of(uuid), name == "starting_after"
            page = CheckoutPage(limit, edge) if is_after else CheckoutPage(limit, None, edge)
        try:
            checkouts, has_more = await self._checkouts.list_checkouts(
                merchant.merchant_no, merchant.mode, page
            )
            orders = await self._orders_of(checkouts)
        except CursorUnknown:
            return cursor_problem(name, "The cursor names no checkout of this merchant and mode.")
        except StorageUnavailable:
            return BOOKS_AWAY
        shown = [
            (checkout, [stored_view(checkout, order, orders.get(key[1])) for order, key in placed])
            for checkout, placed in ((each, self._with_keys(each)) for each in checkouts)
        ]
        return checkout_list_response(shown, has_more=has_more)

    async def _parties(self, merchant: Merchant, wanted: WantedCheckout) -> list[Party] | Problem:
        """Return whose wallets are credited, order by order."""
        asked = await asyncio.gather(
            *(self._payments.party(merchant, order.payment) for order in wanted.orders)
        )
        parties: list[Party] = []
        for position, party in enumerate(asked):
            if isinstance(party, Problem):
                return at_order(party, position)
            parties.append(party)
        return parties

    def _commands(
        self,
        name: str,
        wanted: WantedCheckout,
        merchant: Merchant,
        parties: Sequence[Party],
    ) -> list[PaymentCommand]:
        page = wanted.hosted
        hosted = None if page is None else HostedPage(page.success_url, page.cancel_url, name)
        return [
            self._payments.command(
                order.key, order.payment, merchant, party, checkout=name, hosted=hosted
            )
            for order, party in zip(wanted.orders, parties, strict=True)
        ]

    async def _run(
        self,
        placed: Placed,
        commands: Sequence[PaymentCommand],
        shown: Sequence[str | None],
        wait_s: int,
    ) -> Answer:
        """Have every order accepted, hold the answer as long as is wanted, and tell how each stands.

        ``shown`` are the orders' splits as an answer shows them.
        """
        checkout, held_s = placed.checkout, self._holding.held_s(wait_s)
        verdicts = await asyncio.gather(
            *(self._payments.accept(command, held_s) for command in commands)
        )
        problem = not_all_stored(verdicts, commands)
        if problem is not None:
            return problem
        views = [
            verdict_view(checkout, *each)
            for each in zip(checkout.orders, commands, verdicts, shown, strict=True)
        ]
        is_deferred = placed.is_deferred or any(
            decided.verdict is Verdict.ACCEPTED_DEFERRED for decided in verdicts
        )
        response = checkout_response(
            checkout, views, is_replay=placed.is_replay, is_deferred=is_deferred
        )
        if held_s:
            response.headers[HEADER_PREFERENCE_APPLIED] = f"wait={wait_s}"
        return response

    async def _found(
        self, checkout: Checkout, order: CheckoutOrder, key: OrderLookup
    ) -> OrderView | Problem:
        found = await self._finding.find(key)
        if found is NOT_FOUND:
            return unaccepted_view(checkout, order)
        if isinstance(found, Problem):
            return found
        if found.order is not None:
            return stored_view(checkout, order, found.order)
        is_same = fingerprint.same(order.fingerprint, found.fingerprint)
        return found.view if is_same else reused_view(checkout, order)

    async def _orders_of(self, checkouts: Sequence[Checkout]) -> dict[UUID, StoredOrder]:
        """Return the orders of many checkouts that are in the books. Raises StorageUnavailable."""
        keys = [key for checkout in checkouts for _, key in self._with_keys(checkout)]
        found: dict[UUID, StoredOrder] = {}
        for start in range(0, len(keys), LOOKUP_KEYS_MAX):
            found |= await self._queries.orders(keys[start : start + LOOKUP_KEYS_MAX])
        return found

    def _with_keys(self, checkout: Checkout) -> list[tuple[CheckoutOrder, OrderLookup]]:
        """Return each order with where it is kept."""
        return [
            (order, OrderLookup(partition_index(uuid, self._settings.partition_count), uuid))
            for order, uuid in zip(checkout.orders, checkout.order_uuids(), strict=True)
        ]
