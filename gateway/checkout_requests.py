"""``POST /v1/checkouts``: the body's shape and its limits, checked before a store is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from gateway.bodies import JSON_PROBLEM, decode_body, shape_problem
from gateway.openapi.common import UUID_PATTERN
from gateway.openapi.declarations import rule
from gateway.payment_checks import payment_refusal
from gateway.payment_requests import (
    Amount,
    Buyer,
    Currency,
    Description,
    Metadata,
    PaymentMethod,
    PaymentRequest,
    SellerId,
)
from gateway.problems import Code, Problem
from gateway.settings import PaymentRoute
from gateway.split_requests import Splits, split_members
from payments.checkouts import CHECKOUT_ORDERS_MAX
from payments.commands import HOSTED_METHOD
from payments.identity import parse_idempotency_key
from payments.mode import Mode
from storage.command_rules import PAGE_URL_LENGTH_MAX, problem_of_page_url

# As far as a pattern can say it; the host has to be one, and with a live key it is https.
_URL_PATTERN = r"^https?://[A-Za-z0-9.-]+(?::[1-9][0-9]{0,3})?(?:[/?#][!-~]*)?$"
PageUrl = Annotated[
    str,
    rule("Absolute; https with live keys.", maxLength=PAGE_URL_LENGTH_MAX, pattern=_URL_PATTERN),
]
OrderId = Annotated[
    str,
    rule(
        "A UUID of your own: the id of the payment that the order becomes.",
        pattern=f"^{UUID_PATTERN}$",
    ),
]


class OrderBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """One order of a checkout as it came."""

    id: OrderId
    amount: Amount
    currency: Currency
    seller: SellerId | None = None
    splits: Splits | None = None
    description: Description | None = None


class HostedBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Where the PSP's page sends the buyer back to."""

    success_url: PageUrl
    cancel_url: PageUrl

    def members(self) -> dict[str, object]:
        return {"success_url": self.success_url, "cancel_url": self.cancel_url}


class CheckoutRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """The body of ``POST /v1/checkouts``. Orders are read one by one, so that a problem names its order."""

    orders: list[msgspec.Raw]
    payment_method: str | None = None
    hosted: HostedBody | None = None
    buyer: Buyer | None = None
    metadata: dict[str, str] | None = None


class CheckoutBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """What ``CheckoutRequest`` takes, its orders written out: for the API's document alone."""

    orders: Annotated[list[OrderBody], rule(minItems=1, maxItems=CHECKOUT_ORDERS_MAX)]
    payment_method: PaymentMethod | None = None
    hosted: HostedBody | None = None
    buyer: Buyer | None = None
    metadata: Metadata | None = None


class WantedOrder(NamedTuple):
    """One order: its id, and the payment that it is."""

    key: UUID
    payment: PaymentRequest


class WantedCheckout(NamedTuple):
    """A checkout whose shape and limits are right."""

    orders: Sequence[WantedOrder]
    hosted: HostedBody | None
    metadata: dict[str, str] | None
    buyer: Buyer | None

    @property
    def splits(self) -> list[Splits | None]:
        """Whose parts each order's charge has, in the orders' order."""
        return [order.payment.splits for order in self.orders]

    def fingerprint_fields(self, seller_ids: Sequence[str]) -> dict[str, object]:
        """Return the business fields; ``seller_ids`` are the orders' sellers after the default."""
        return {
            "orders": [
                {
                    "id": str(order.key),
                    "amount": order.payment.amount,
                    "currency": order.payment.currency,
                    "seller": seller_id,
                    # A null is left out, so orders without splits keep what they come to.
                    "splits": splits if splits is None else split_members(splits),
                    "description": order.payment.description,
                }
                for order, seller_id, splits in zip(
                    self.orders, seller_ids, self.splits, strict=True
                )
            ],
            "payment_method": self.orders[0].payment.payment_method,
            "hosted": None if self.hosted is None else self.hosted.members(),
            "metadata": self.metadata or None,
            "buyer": (self.buyer.members() or None) if self.buyer is not None else None,
        }


_DECODER = msgspec.json.Decoder(CheckoutRequest)
_ORDER_DECODER = msgspec.json.Decoder(OrderBody)


def read_checkout(
    body: bytes, mode: Mode, routes: Sequence[PaymentRoute]
) -> WantedCheckout | Problem:
    """Return what a body asks for, or the first problem in it."""
    wanted = decode_body(body, _DECODER)
    if isinstance(wanted, Problem):
        return wanted
    method = _method(wanted, mode)
    if isinstance(method, Problem):
        return method
    if not 1 <= len(wanted.orders) <= CHECKOUT_ORDERS_MAX:
        return _invalid(f"A checkout has 1 to {CHECKOUT_ORDERS_MAX} orders.", "$.orders")
    orders: list[WantedOrder] = []
    keys: set[UUID] = set()
    for position, raw in enumerate(wanted.orders):
        path = f"$.orders[{position}]"
        order = _order(raw, path, method, wanted)
        if isinstance(order, Problem):
            return order
        if order.key in keys:
            return _invalid("Another order of this checkout has the same id.", f"{path}.id")
        keys.add(order.key)
        refusal = payment_refusal(order.payment, mode, routes)
        if refusal is not None:
            return _placed(refusal, path, is_hosted=wanted.hosted is not None)
        orders.append(order)
    return WantedCheckout(orders, wanted.hosted, wanted.metadata, wanted.buyer)


def at_order(problem: Problem, position: int) -> Problem:
    """Return an order's problem with its place in the checkout."""
    return _placed(problem, f"$.orders[{position}]", is_hosted=False)


def _method(wanted: CheckoutRequest, mode: Mode) -> str | Problem:
    """Return the payment method of all orders, or the problem with how it is given."""
    if (wanted.payment_method is None) == (wanted.hosted is None):
        return _invalid("Give payment_method or hosted, one of the two.", "$")
    if wanted.hosted is None:
        method = wanted.payment_method or ""
        if method.startswith(HOSTED_METHOD):
            return _invalid("A payment page is asked for by `hosted`.", "$.payment_method")
        return method
    for name, url in (
        ("success_url", wanted.hosted.success_url),
        ("cancel_url", wanted.hosted.cancel_url),
    ):
        if not _is_usable(url, mode):
            return Problem(
                code=Code.RETURN_URL_INVALID,
                detail=(
                    "It must be an absolute https URL (http also, with test keys) of at most"
                    f" {PAGE_URL_LENGTH_MAX} ASCII characters, without user name and password."
                ),
                param=f"$.hosted.{name}",
            )
    return HOSTED_METHOD


def _is_usable(url: str, mode: Mode) -> bool:
    if problem_of_page_url(url) is not None:
        return False
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return False
    schemes = ("https",) if mode is Mode.LIVE else ("https", "http")
    return parts.scheme in schemes and bool(host) and "@" not in parts.netloc


def _order(
    raw: msgspec.Raw, path: str, method: str, wanted: CheckoutRequest
) -> WantedOrder | Problem:
    try:
        order = _ORDER_DECODER.decode(raw)
    except msgspec.ValidationError as error:
        problem = shape_problem(str(error), bytes(raw))
        return replace(problem, param=path + (problem.param or "$")[1:])
    except (msgspec.DecodeError, UnicodeDecodeError):
        # A text that the first reading has passed over.
        return JSON_PROBLEM
    key = parse_idempotency_key(order.id)
    if key is None or order.id.startswith('"'):
        return _invalid("An order's id is a UUID of your own: it makes retries safe.", f"{path}.id")
    payment = PaymentRequest(
        amount=order.amount,
        currency=order.currency,
        payment_method=method,
        seller=order.seller,
        splits=order.splits,
        description=order.description,
        metadata=wanted.metadata,
        buyer=wanted.buyer,
    )
    return WantedOrder(key, payment)


_OF_AN_ORDER = ("$.amount", "$.currency", "$.seller", "$.splits", "$.description")


def _placed(problem: Problem, path: str, *, is_hosted: bool) -> Problem:
    """Return an order's refusal with its place: what all orders share stands in the checkout itself."""
    param = problem.param or ""
    if param.startswith(_OF_AN_ORDER):
        return replace(problem, param=path + param[1:])
    if is_hosted and problem.param == "$.payment_method":
        detail = "No provider of this currency and mode serves a payment page."
        return replace(problem, detail=detail, param="$.hosted")
    return problem


def _invalid(detail: str, param: str) -> Problem:
    return Problem(code=Code.CHECKOUT_INVALID, detail=detail, param=param)
