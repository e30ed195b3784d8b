"""The operations of everything but payments. Bound to clients elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID, uuid5

from tallystick.operations import (
    Call,
    Json,
    KeyChoice,
    Listing,
    Operation,
    Page,
    fixed,
    page_of,
    segment,
)
from tallystick.record import Record
from tallystick.records import (
    Checkout,
    Delivery,
    Dispute,
    Event,
    LoggedRequest,
    Resend,
    Seller,
    Wallet,
    WebhookEndpoint,
)

R = TypeVar("R", bound=Record)

SELLERS = "/v1/sellers"
DISPUTES = "/v1/disputes"
CHECKOUTS = "/v1/checkouts"
EVENTS = "/v1/events"
ENDPOINTS = "/v1/webhook_endpoints"
REQUESTS = "/v1/requests"


def create_seller(
    *,
    id: str,  # noqa: A002  # the API's word
    name: str,
    fee: Mapping[str, Any] | None = None,
) -> Operation[Seller]:
    """Create a seller, whose wallet payments can be credited to. Raises StateConflict when it exists.

    ``fee``: ``{"basis_points": 290, "fixed": {"USD": 30}}``; the merchant's own when left out.
    """
    body = fixed({"id": id, "name": name, "fee": fee})
    return Call(method="POST", path=SELLERS, body=body, read=Seller)


def list_sellers(
    *, limit: int | None = None, starting_after: str | None = None
) -> Operation[Page[Seller]]:
    """Return one page of sellers, by id."""
    return _page(SELLERS, Seller, {"limit": limit, "starting_after": starting_after})


def iterate_sellers(*, page_size: int = 100) -> Listing[Seller]:
    """Go through all sellers, by id."""
    return Listing(first=_page(SELLERS, Seller, {"limit": page_size}))


def retrieve_wallet(owner: str = "me") -> Operation[Wallet]:
    """Return a seller's money; ``me`` is the merchant itself."""
    return Call(method="GET", path=f"/v1/wallets/{segment(owner)}", read=Wallet)


def retrieve_dispute(dispute_id: str) -> Operation[Dispute]:
    """Return a dispute as it stands now. Raises ResourceMissing."""
    return Call(method="GET", path=f"{DISPUTES}/{segment(dispute_id)}", read=Dispute)


def list_disputes(
    *,
    payment: UUID | str | None = None,
    status: str | None = None,
    limit: int | None = None,
    starting_after: str | None = None,
) -> Operation[Page[Dispute]]:
    """Return one page of disputes, newest first: of one payment, or of all; in one state, or in any."""
    query = {"payment": payment, "status": status, "limit": limit, "starting_after": starting_after}
    return _page(DISPUTES, Dispute, query)


def iterate_disputes(
    *, payment: UUID | str | None = None, status: str | None = None, page_size: int = 100
) -> Listing[Dispute]:
    """Go through all disputes, newest first: of one payment, or of all; in one state, or in any."""
    query = {"payment": payment, "status": status, "limit": page_size}
    return Listing(first=_page(DISPUTES, Dispute, query))


def create_checkout(
    *,
    orders: Sequence[Mapping[str, Any]],
    payment_method: str | None = None,
    hosted: Mapping[str, str] | None = None,
    buyer: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
    idempotency_key: UUID | str | None = None,
    key_name: str | None = None,
    wait_s: int = 0,
    **more: Any,
) -> Operation[Checkout]:
    """Have a buyer pay several orders at once, each its own payment: by a token, or on a hosted page.

    An order is ``{"amount", "currency", "seller" or "splits", "description"}``; its ``id``, which is its payment's, is
    derived from the call's key where it has none, so that a repetition names the same orders. ``hosted`` is
    ``{"success_url", "cancel_url"}``. ``more`` are members of the body that this version does not know. Keys
    and errors are as with ``payments.create``.
    """

    def body(key: UUID | None) -> Json:
        assert key is not None
        numbered = [
            {"id": str(uuid5(key, str(number))), **order} for number, order in enumerate(orders)
        ]
        own = {"payment_method": payment_method, "hosted": hosted}
        return {**more, **own, "orders": numbered, "buyer": buyer, "metadata": metadata}

    return Call(
        method="POST",
        path=CHECKOUTS,
        body=body,
        key=KeyChoice.of(idempotency_key, key_name),
        wait_s=wait_s,
        read=Checkout,
    )


def retrieve_checkout(checkout_id: str) -> Operation[Checkout]:
    """Return a checkout as it stands now."""
    return Call(method="GET", path=f"{CHECKOUTS}/{segment(checkout_id)}", read=Checkout)


def list_checkouts(
    *, limit: int | None = None, starting_after: str | None = None
) -> Operation[Page[Checkout]]:
    """Return one page of checkouts, newest first."""
    return _page(CHECKOUTS, Checkout, {"limit": limit, "starting_after": starting_after})


def iterate_checkouts(*, page_size: int = 100) -> Listing[Checkout]:
    """Go through all checkouts, newest first."""
    return Listing(first=_page(CHECKOUTS, Checkout, {"limit": page_size}))


def retrieve_event(event_id: str) -> Operation[Event]:
    """Return one event, the same as in the feed."""
    return Call(method="GET", path=f"{EVENTS}/{segment(event_id)}", read=Event)


def list_events(*, after: str | None = None, limit: int | None = None) -> Operation[Page[Event]]:
    """Return what came behind a cursor, oldest first; without one from the beginning of the feed.

    The page's ``next_cursor`` is where the feed goes on: keep it once its events are dealt with.
    """
    return _page(EVENTS, Event, {"after": after, "limit": limit})


def iterate_events(*, after: str | None = None, page_size: int = 100) -> Listing[Event]:
    """Go through the events behind a cursor, oldest first, up to the newest there is."""
    return Listing(first=_page(EVENTS, Event, {"after": after, "limit": page_size}), is_feed=True)


def create_endpoint(
    *, url: str, types: Sequence[str] | None = None, **more: Any
) -> Operation[WebhookEndpoint]:
    """Have events sent to a URL; all, or those of ``types``. The answer's ``secret`` is shown this once."""
    body = fixed({**more, "url": url, "types": None if types is None else list(types)})
    return Call(method="POST", path=ENDPOINTS, body=body, read=WebhookEndpoint)


def retrieve_endpoint(endpoint_id: str) -> Operation[WebhookEndpoint]:
    """Return an endpoint, without its secret."""
    return Call(method="GET", path=_endpoint(endpoint_id), read=WebhookEndpoint)


def list_endpoints(
    *, limit: int | None = None, starting_after: str | None = None
) -> Operation[Page[WebhookEndpoint]]:
    """Return one page of endpoints, newest first."""
    return _page(ENDPOINTS, WebhookEndpoint, {"limit": limit, "starting_after": starting_after})


def delete_endpoint(endpoint_id: str) -> Operation[None]:
    """Have no more events sent there."""
    return Call(
        method="DELETE", path=_endpoint(endpoint_id), read=lambda _document, _response: None
    )


def enable_endpoint(endpoint_id: str) -> Operation[WebhookEndpoint]:
    """Go on sending where it stopped."""
    return _endpoint_action(endpoint_id, "enable", {}, WebhookEndpoint)


def disable_endpoint(endpoint_id: str) -> Operation[WebhookEndpoint]:
    """Send nothing until it is enabled."""
    return _endpoint_action(endpoint_id, "disable", {}, WebhookEndpoint)


def rotate_secret(endpoint_id: str, *, overlap_s: int | None = None) -> Operation[WebhookEndpoint]:
    """Make a new secret, shown this once; the one before signs, too, for ``overlap_s`` seconds."""
    members = {"overlap_s": overlap_s}
    return _endpoint_action(endpoint_id, "rotate_secret", members, WebhookEndpoint)


def list_deliveries(
    endpoint_id: str,
    *,
    limit: int | None = None,
    starting_after: str | None = None,
    state: str | None = None,
) -> Operation[Page[Delivery]]:
    """Return one page of what was sent to an endpoint, newest first."""
    query = {"limit": limit, "starting_after": starting_after, "state": state}
    return _page(f"{_endpoint(endpoint_id)}/deliveries", Delivery, query)


def iterate_deliveries(
    endpoint_id: str, *, page_size: int = 100, state: str | None = None
) -> Listing[Delivery]:
    """Go through all that was sent to an endpoint, newest first."""
    query = {"limit": page_size, "state": state}
    return Listing(first=_page(f"{_endpoint(endpoint_id)}/deliveries", Delivery, query))


def resend_delivery(endpoint_id: str, delivery_id: str) -> Operation[Resend]:
    """Send an event to an endpoint once more, under its own id."""
    return _endpoint_action(endpoint_id, f"deliveries/{segment(delivery_id)}/resend", {}, Resend)


def resend_range(
    endpoint_id: str, *, since: datetime, until: datetime, state: str | None = None
) -> Operation[Resend]:
    """Send all deliveries of a time once more, oldest first."""
    if since.tzinfo is None or until.tzinfo is None:
        raise ValueError("a time needs its offset from UTC")
    members = {"from": since.isoformat(), "to": until.isoformat(), "state": state}
    return _endpoint_action(endpoint_id, "resend", members, Resend)


def list_requests(
    *,
    request_id: str | None = None,
    idempotency_key: UUID | str | None = None,
    after: str | None = None,
    starting_after: str | None = None,
    limit: int | None = None,
) -> Operation[Page[LoggedRequest]]:
    """Return what was asked and answered, newest first: of one request, of one key, or of all.

    Behind the request ``after`` oldest first, so that one can follow.
    """
    query = {
        "request_id": request_id,
        "idempotency_key": idempotency_key,
        "after": after,
        "starting_after": starting_after,
        "limit": limit,
    }
    return _page(REQUESTS, LoggedRequest, query)


def iterate_requests(
    *, idempotency_key: UUID | str | None = None, page_size: int = 100
) -> Listing[LoggedRequest]:
    """Go through what was asked and answered, newest first: of one key, or of all."""
    query = {"idempotency_key": idempotency_key, "limit": page_size}
    return Listing(first=_page(REQUESTS, LoggedRequest, query))


def _page(path: str, kind: Any, query: Json) -> Call[Any]:
    return Call(method="GET", path=path, query=query, read=page_of(kind))


def _endpoint(endpoint_id: str) -> str:
    return f"{ENDPOINTS}/{segment(endpoint_id)}"


def _endpoint_action(endpoint_id: str, action: str, members: Json, kind: type[R]) -> Call[R]:
    return Call(
        method="POST",
        path=f"{_endpoint(endpoint_id)}/{action}",
        body=fixed(members),
        read=kind,
    )
