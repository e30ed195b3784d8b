"""What a load asks for beside payments: captures, voids and refunds of them, and checkouts of several."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from loadtest.checker.derivation import (
    checkout_fingerprint,
    checkout_id,
    fingerprint,
    operation_fingerprint,
)
from loadtest.checker.records import AskedOrder, ClientKey, OpKind
from loadtest.history.orders import OrderDrawing, SentOrder
from loadtest.history.plan import LoadPlan, Storefront

_PATHS: Mapping[OpKind, str] = {
    OpKind.CAPTURE: "captures",
    OpKind.VOID: "void",
    OpKind.REFUND: "refunds",
}
ORDERS_MAX = 4


class SentOperation(NamedTuple):
    """A request to capture, void or refund a payment, under its own key."""

    storefront: Storefront
    payment: str
    """The payment's key."""
    kind: OpKind
    key: str
    amount_minor: int | None
    """None asks for all that is left."""
    reason: str | None
    fingerprint: str

    @property
    def path(self) -> str:
        return f"/v1/payments/{self.payment}/{_PATHS[self.kind]}"

    @property
    def body(self) -> bytes:
        members = {"amount": self.amount_minor, "reason": self.reason}
        given = {name: value for name, value in members.items() if value is not None}
        # Nothing and an object without members are the same request.
        return json.dumps(given).encode() if given else b""


class SentCheckout(NamedTuple):
    """A request of ``POST /v1/checkouts``: some orders under a key of its own."""

    storefront: Storefront
    key: str
    members: Mapping[str, object]
    orders: tuple[AskedOrder, ...]
    fingerprint: str

    @property
    def name(self) -> ClientKey:
        return self.storefront.merchant, self.storefront.mode, self.key

    @property
    def public_id(self) -> str:
        """The id under which it is read."""
        return checkout_id(*self.name)

    @property
    def body(self) -> bytes:
        return json.dumps(self.members).encode()


class AskedDrawing:
    """Draws operations and checkouts; their orders' amounts are those of no other order."""

    def __init__(self, plan: LoadPlan, draw: random.Random, orders: OrderDrawing) -> None:
        self._secret = plan.fingerprint_key
        self._draw = draw
        self._orders = orders

    def operation(
        self, order: SentOrder, kind: OpKind, amount_minor: int | None, key: str | None = None
    ) -> SentOperation:
        """Return an operation on a payment, under a new key unless one is given."""
        reason = None
        if kind is OpKind.REFUND and self._draw.random() < 0.3:
            reason = f"return {self._draw.getrandbits(16)}"
        return SentOperation(
            storefront=order.storefront,
            payment=order.key,
            kind=kind,
            key=key or self._key(),
            amount_minor=amount_minor,
            reason=reason,
            fingerprint=operation_fingerprint(amount_minor, reason, self._secret),
        )

    def other_operation(self, operation: SentOperation) -> SentOperation | None:
        """Return another one under the same key; None of a void, which has no members to differ in."""
        if operation.kind is OpKind.VOID:
            return None
        return self._with(operation, (operation.amount_minor or 0) + 1, operation.reason)

    def as_capture(self, operation: SentOperation) -> SentOperation:
        """Return a capture under the key of something else, which names another operation."""
        made = self._with(operation, (operation.amount_minor or 0) + 1, None)
        return made._replace(kind=OpKind.CAPTURE)

    def _with(
        self, operation: SentOperation, amount_minor: int, reason: str | None
    ) -> SentOperation:
        made = operation_fingerprint(amount_minor, reason, self._secret)
        return operation._replace(amount_minor=amount_minor, reason=reason, fingerprint=made)

    def checkout(
        self, storefront: Storefront | None = None, key: str | None = None
    ) -> SentCheckout:
        """Return a checkout of a few new orders; in some of them one order is above the token's limit."""
        first = self._orders.new(storefront)
        count = self._draw.randint(2, ORDERS_MAX)
        drawn = [first, *(self._orders.new(first.storefront) for _ in range(count - 1))]
        token = first.token
        if self._draw.random() < 0.4:
            # Amounts rise, so the last one is declined, and it alone.
            token = f"tok_limit_{drawn[-1].amount_minor - 1}"
        return self._sent(first.storefront, key or self._key(), drawn, token)

    def other_checkout(self, checkout: SentCheckout) -> SentCheckout:
        """Return another checkout, of other orders, under the same key."""
        return self.checkout(checkout.storefront, checkout.key)

    def _sent(
        self, storefront: Storefront, key: str, drawn: Sequence[SentOrder], token: str
    ) -> SentCheckout:
        name = checkout_id(storefront.merchant, storefront.mode, key)
        bodies: list[dict[str, object]] = []
        asked: list[AskedOrder] = []
        metadata = drawn[0].members.get("metadata")
        for order in drawn:
            given = ("amount", "currency", "seller", "splits", "description")
            body = {each: order.members[each] for each in given if each in order.members}
            bodies.append({"id": order.key, **body})
            fields = {"seller": storefront.merchant, **body, "payment_method": token}
            made = fingerprint({**fields, "checkout": name, "metadata": metadata}, self._secret)
            asked.append(AskedOrder(order.key, order.amount_minor, order.currency, made))
        members: dict[str, object] = {"orders": bodies, "payment_method": token}
        if metadata is not None:
            members["metadata"] = metadata
        filled = [{"seller": storefront.merchant, **body} for body in bodies]
        whole = checkout_fingerprint({**members, "orders": filled}, self._secret)
        return SentCheckout(storefront, key, members, tuple(asked), whole)

    def _key(self) -> str:
        return str(UUID(int=self._draw.getrandbits(128), version=4))
