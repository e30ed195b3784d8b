"""How a checkout is answered: its orders as they stand, and what they come to together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from aiohttp import web

from gateway.idempotency import Verdict, says_the_same
from gateway.open_requests import Decided
from gateway.rendering import (
    HEADER_KEY_CHECK,
    HEADER_REPLAYED,
    KEY_CHECK_DEFERRED,
    accepted_view,
    json_bytes_response,
    rfc3339,
)
from payments.answer import OrderView, payment_body
from payments.checkout_names import checkout_id
from payments.checkouts import (
    Checkout,
    CheckoutOrder,
    CheckoutStatus,
    OrderStanding,
    checkout_status,
)
from payments.commands import PaymentCommand
from payments.defects import InvariantViolation
from payments.lifecycle import PaymentState
from storage.read_ports import StoredOrder
from storage.set_aside_orders import under_key

CHECKOUT_PATH_BASE = "/v1/checkouts/"
CODE_ORDER_ID_REUSED = "order_id_reused"

_OPEN = frozenset({CheckoutStatus.PROCESSING, CheckoutStatus.REQUIRES_ACTION})
_encoder = msgspec.json.Encoder()


def unaccepted_view(checkout: Checkout, order: CheckoutOrder) -> OrderView:
    """Return an order that nobody has accepted yet: to repeat the checkout's POST does it."""
    return OrderView(
        idempotency_key=order.idempotency_key,
        status=PaymentState.CREATED.wire,
        is_outcome_known=True,
        amount_minor=order.amount_minor,
        amount_captured_minor=0,
        amount_refunded_minor=0,
        currency=order.currency,
        seller_id=order.seller_id,
        fee_minor=None,
        psp=None,
        psp_reference=None,
        attempt_count=0,
        failure_code=None,
        decline_code=None,
        failure_message=None,
        next_action=None,
        next_retry_at=None,
        metadata_json=checkout.metadata_json,
        capture="automatic",
        created_at=checkout.accepted_at,
        effective_at=None,
        ledger_updated_at=None,
        wallet_updated_at=None,
        api_version=checkout.api_version,
    )


def reused_view(checkout: Checkout, order: CheckoutOrder) -> OrderView:
    """Return an order whose id another request had taken first: it never runs in this checkout."""
    return unaccepted_view(checkout, order)._replace(
        status=PaymentState.FAILED.wire,
        failure_code=CODE_ORDER_ID_REUSED,
        failure_message="The order's id names another request. Nothing was charged for this one.",
    )


def stored_view(checkout: Checkout, order: CheckoutOrder, stored: StoredOrder | None) -> OrderView:
    """Return an order as the books have it; None: they hold no order of its id."""
    if stored is None:
        return unaccepted_view(checkout, order)
    if not says_the_same(order.fingerprint, stored):
        return reused_view(checkout, order)
    return under_key(stored, order.idempotency_key) if stored.is_set_aside else stored.shown


def verdict_view(
    checkout: Checkout,
    order: CheckoutOrder,
    command: PaymentCommand,
    decided: Decided,
    splits_json: str | None,
) -> OrderView:
    """Return an order as its verdict tells it, which is none of those that answer 503."""
    if isinstance(decided.order, StoredOrder):
        return stored_view(checkout, order, decided.order)
    if decided.verdict is Verdict.REUSED:
        return reused_view(checkout, order)
    assert decided.first_accepted_at_ms is not None
    return accepted_view(
        command, order.seller_id, decided.first_accepted_at_ms, splits_json=splits_json
    )


def checkout_response(
    checkout: Checkout, views: Sequence[OrderView], *, is_replay: bool, is_deferred: bool
) -> web.Response:
    """Return the answer of a POST: 201 once all orders have ended, else 202."""
    status, body = _rendered(checkout, views)
    response = json_bytes_response(body, 202 if status in _OPEN else 201)
    response.headers["Location"] = CHECKOUT_PATH_BASE + checkout_id(checkout.checkout_uuid)
    if is_replay:
        response.headers[HEADER_REPLAYED] = "true"
    if is_deferred:
        response.headers[HEADER_KEY_CHECK] = KEY_CHECK_DEFERRED
    return response


def checkout_body(checkout: Checkout, views: Sequence[OrderView]) -> bytes:
    """Return a checkout's JSON; ``views`` are its orders, in their order."""
    return _rendered(checkout, views)[1]


def checkout_list_response(
    shown: Iterable[tuple[Checkout, Sequence[OrderView]]], *, has_more: bool
) -> web.Response:
    """Return a page of checkouts."""
    data = b",".join(checkout_body(*each) for each in shown)
    more = b"true" if has_more else b"false"
    return json_bytes_response(b'{"object":"list","data":[%b],"has_more":%b}' % (data, more))


def _rendered(checkout: Checkout, views: Sequence[OrderView]) -> tuple[CheckoutStatus, bytes]:
    status = checkout_status(list(map(_standing, views)))
    waiting = [view.next_action for view in views if view.next_action is not None]
    is_buyers_turn = status is CheckoutStatus.REQUIRES_ACTION
    hosted = None
    if checkout.success_url is not None:
        hosted = {"success_url": checkout.success_url, "cancel_url": checkout.cancel_url}
    head = {
        "id": checkout_id(checkout.checkout_uuid),
        "object": "checkout",
        "status": status.value,
        "is_payment_done": status is CheckoutStatus.SUCCEEDED,
        "redirect_url": waiting[0]["url"] if is_buyers_turn and waiting else None,
        "expires_at": _first_expiry(waiting) if is_buyers_turn else None,
        "hosted": hosted,
        "metadata": msgspec.Raw((checkout.metadata_json or "{}").encode()),
        "created_at": rfc3339(checkout.accepted_at),
    }
    orders = b",".join(map(payment_body, views))
    # The orders' own renderer gives bytes, so the last brace makes room for them.
    return status, _encoder.encode(head)[:-1] + b',"orders":[%b]}' % orders


def _standing(view: OrderView) -> OrderStanding:
    state = PaymentState.from_wire(view.status)
    if state is None:
        raise InvariantViolation(f"{view.status} is no state of an order")
    return OrderStanding(state, is_waiting_long=view.next_retry_at is not None)


def _first_expiry(waiting: Sequence[Mapping[str, object]]) -> str | None:
    """Return when the first of the buyer's actions runs out; all are RFC 3339 in UTC, so texts compare."""
    times = [action.get("expires_at") for action in waiting]
    return min((time for time in times if isinstance(time, str)), default=None)
