"""Captures, voids and refunds of payments: taken like payments, under keys of their own."""

from __future__ import annotations

from uuid import UUID

from aiohttp import web

from gateway import operation_declarations as declared
from gateway.authentication import Merchant
from gateway.bodies import decode_body, read_body
from gateway.door import Answer
from gateway.finding import NOT_FOUND, Finding
from gateway.holding import HEADER_PREFERENCE_APPLIED, Holding
from gateway.idempotency import Verdict
from gateway.lookups import Lookups
from gateway.open_requests import Decided
from gateway.openapi.declarations import documented
from gateway.operation_rendering import (
    accepted_operation_view,
    frozen_operation_response,
    refund_list_response,
    running_operation_response,
)
from gateway.operation_requests import DECODERS, amount_and_reason, operation_refusal
from gateway.parameters import read_limit, single_parameters
from gateway.problems import Code, Problem
from gateway.refund_finding import RefundFinding
from gateway.refusals import BACKPRESSURE, BOOKS_AWAY, UNDECIDED_KEY, reused, unproven
from gateway.rendering import json_bytes_response
from gateway.request_headers import prefer_wait_s, read_idempotency_key
from gateway.settings import GatewaySettings
from payments import operation_fingerprint
from payments.answer import API_VERSION
from payments.commands import OperationCommand
from payments.identity import (
    OperationKey,
    operation_uuid,
    order_uuid,
    parse_idempotency_key,
    parse_operation_id,
)
from payments.operation_answer import ID_PREFIXES, operation_body
from payments.operation_kinds import OperationKind
from payments.operations import EXHAUSTED_MESSAGE, OPERATIONS_MAX
from payments.partitioning import partition_index
from runtime.clock import Clock
from runtime.faults import StorageUnavailable
from storage.envelope import accepted_at_ms
from storage.lookup_keys import OperationLookup, OrderLookup
from storage.operation_envelope import operation_entry
from storage.read_ports import PaymentQueries, StoredOperation, StoredOrder
from storage.set_aside_orders import under_operation

_IN_PROGRESS = Problem(
    code=Code.PAYMENT_IN_PROGRESS,
    detail="Wait until the payment is authorized, or has ended. Nothing was kept.",
)
_EXHAUSTED = Problem(
    code=Code.OPERATIONS_EXHAUSTED,
    detail=EXHAUSTED_MESSAGE,
)
_REFUND_NOT_FOUND = Problem(
    code=Code.REFUND_NOT_FOUND,
    detail="Neither the books nor the queue know such a refund of this merchant and mode.",
)

_CURSOR_UNKNOWN = Problem(
    code=Code.PARAMETER_INVALID,
    detail="The cursor is no refund of this payment.",
    param="query:starting_after",
)


class Operations:
    """The handlers of the routes."""

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        clock: Clock,
        holding: Holding,
        finding: Finding,
        lookups: Lookups,
        queries: PaymentQueries,
        reply_to: str,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._holding = holding
        self._finding = finding
        self._lookups = lookups
        self._queries = queries
        self._refunds = RefundFinding(lookups, finding)
        self._reply_to = reply_to

    @documented(declared.CAPTURE)
    async def capture(self, request: web.Request, merchant: Merchant) -> Answer:
        """POST /v1/payments/{id}/captures: all that is left of an authorization, or a part."""
        return await self._create(OperationKind.CAPTURE, request, merchant)

    @documented(declared.VOID)
    async def void(self, request: web.Request, merchant: Merchant) -> Answer:
        """POST /v1/payments/{id}/void: give an authorization back."""
        return await self._create(OperationKind.VOID, request, merchant)

    @documented(declared.REFUND)
    async def refund(self, request: web.Request, merchant: Merchant) -> Answer:
        """POST /v1/payments/{id}/refunds: all that is left of what was captured, or a part."""
        return await self._create(OperationKind.REFUND, request, merchant)

    @documented(declared.LIST_REFUNDS)
    async def list_refunds(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/payments/{id}/refunds: one page, newest first."""
        parameters = single_parameters(request, ("limit", "starting_after"))
        if isinstance(parameters, Problem):
            return parameters
        limit = read_limit(parameters)
        if isinstance(limit, Problem):
            return limit
        key = self._payment_key(request, merchant)
        if key is None:
            return NOT_FOUND
        found = await self._finding.find(key)
        if isinstance(found, Problem):
            return found
        cursor = None
        if (after := parameters.get("starting_after")) is not None:
            cursor = await self._cursor(after, request, merchant)
        if isinstance(cursor, Problem):
            return cursor
        try:
            page, has_more = await self._queries.operations_of(
                *key,
                OperationKind.REFUND,
                starting_after=None if cursor is None else cursor.operation_uuid,
                count_max=limit,
            )
        except StorageUnavailable:
            return BOOKS_AWAY
        return refund_list_response((refund.view for refund in page), has_more=has_more)

    @documented(declared.READ_REFUND)
    async def show_refund(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/refunds/{id}: the refund as it stands now."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        key = parse_operation_id(request.match_info["id"])
        if key is None or key.prefix != ID_PREFIXES[OperationKind.REFUND]:
            return _REFUND_NOT_FOUND
        view = await self._refunds.find(key, merchant)
        if isinstance(view, Problem):
            return view
        if view is None or view.kind is not OperationKind.REFUND:
            return _REFUND_NOT_FOUND
        return json_bytes_response(operation_body(view))

    # --- what all POSTs share -------------------------------------------------------------------------

    async def _create(
        self, kind: OperationKind, request: web.Request, merchant: Merchant
    ) -> Answer:
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        key = read_idempotency_key(request.headers)
        if isinstance(key, Problem):
            return key
        wanted = await self._wanted(kind, request)
        if isinstance(wanted, Problem):
            return wanted
        payment = await self._payment(request, merchant)
        if isinstance(payment, Problem):
            return payment
        command = self._command(kind, key, wanted, merchant, payment)
        entry = operation_entry(command, payment.partition_index)
        if payment.operation_count >= OPERATIONS_MAX:
            place = OperationLookup(payment.partition_index, command.operation_uuid)
            try:
                if await self._lookups.find_operation(place) is None:
                    return _EXHAUSTED
            except StorageUnavailable:
                return BOOKS_AWAY
        wait_s = self._holding.held_s(prefer_wait_s(request.headers))
        decided = await self._holding.accept(entry, wait_s)
        answer = _answer(decided, command, payment)
        if wait_s and isinstance(answer, web.Response):
            answer.headers[HEADER_PREFERENCE_APPLIED] = f"wait={wait_s}"
        return answer

    async def _cursor(
        self, after: str, request: web.Request, merchant: Merchant
    ) -> OperationKey | Problem:
        """Return the cursor, which has to be a refund of the path's payment: another one leads to no page of it."""
        cursor = parse_operation_id(after)
        view = None if cursor is None else await self._refunds.find(cursor, merchant)
        if isinstance(view, Problem):
            return view
        payment_key = parse_idempotency_key(request.match_info["id"])
        if cursor is None or view is None or view.payment_key != payment_key:
            return _CURSOR_UNKNOWN
        return _CURSOR_UNKNOWN if view.kind is not OperationKind.REFUND else cursor

    async def _wanted(
        self, kind: OperationKind, request: web.Request
    ) -> tuple[int | None, str | None] | Problem:
        body: bytes | Problem = b"{}"
        if request.body_exists:
            body = await read_body(request, self._settings.body_s)
        if isinstance(body, Problem):
            return body
        decoded = decode_body(body or b"{}", DECODERS[kind])
        if isinstance(decoded, Problem):
            return decoded
        wanted = amount_and_reason(decoded)
        return operation_refusal(*wanted) or wanted

    async def _payment(self, request: web.Request, merchant: Merchant) -> StoredOrder | Problem:
        """Return the payment in the books, once its own answer is frozen."""
        key = self._payment_key(request, merchant)
        if key is None:
            return NOT_FOUND
        found = await self._finding.find(key)
        if isinstance(found, Problem):
            return found
        order = found.order
        if order is None or not order.is_frozen or order.is_set_aside:
            return _IN_PROGRESS
        return order

    def _payment_key(self, request: web.Request, merchant: Merchant) -> OrderLookup | None:
        key = parse_idempotency_key(request.match_info["id"])
        if key is None:
            return None
        order = order_uuid(merchant.merchant_id, merchant.mode, key)
        return OrderLookup(partition_index(order, self._settings.partition_count), order)

    def _command(
        self,
        kind: OperationKind,
        key: UUID,
        wanted: tuple[int | None, str | None],
        merchant: Merchant,
        payment: StoredOrder,
    ) -> OperationCommand:
        now = self._clock.now()
        amount_minor, reason = wanted
        return OperationCommand(
            operation_uuid=operation_uuid(payment.order_uuid, kind.wire, key),
            kind=kind,
            idempotency_key=key,
            payment_uuid=payment.order_uuid,
            payment_key=payment.view.idempotency_key,
            merchant_no=merchant.merchant_no,
            merchant_id=merchant.merchant_id,
            mode=merchant.mode,
            amount_minor=amount_minor,
            reason=reason,
            fingerprint=operation_fingerprint.operation_fingerprint(
                amount_minor, reason, self._settings.fingerprint_key
            ),
            # The queue and the books keep milliseconds; an answer must not show more.
            accepted_at=now.replace(microsecond=now.microsecond // 1_000 * 1_000),
            api_version=API_VERSION,
            reply_to=self._reply_to,
        )


def _answer(decided: Decided, command: OperationCommand, payment: StoredOrder) -> Answer:
    """Return what a verdict says to the storefront."""
    verdict, operation = decided.verdict, decided.order
    match verdict:
        case Verdict.FROZEN | Verdict.RUNNING:
            assert isinstance(operation, StoredOperation)
            view = under_operation(operation, command.kind, command.payment_key)
            is_replay = view.created_at != command.accepted_at
            if verdict is Verdict.FROZEN:
                return frozen_operation_response(view, is_replay=is_replay)
            return running_operation_response(view, is_replay=is_replay, is_deferred=False)
        case Verdict.ACCEPTED | Verdict.ACCEPTED_DEFERRED:
            first_ms = decided.first_accepted_at_ms
            assert first_ms is not None
            return running_operation_response(
                accepted_operation_view(command, payment, first_ms),
                is_replay=first_ms != accepted_at_ms(command.accepted_at),
                is_deferred=verdict is Verdict.ACCEPTED_DEFERRED,
            )
        case Verdict.REUSED:
            first = operation.fingerprint if operation is not None else decided.first_fingerprint
            assert first is not None
            return reused(operation_fingerprint.differs(command.fingerprint, first))
        case Verdict.BACKPRESSURE:
            return BACKPRESSURE
        case Verdict.UNPROVEN:
            return unproven(may_run=decided.may_run)
        case Verdict.UNDECIDED_KEY:
            return UNDECIDED_KEY
