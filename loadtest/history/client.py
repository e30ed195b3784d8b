"""Clients: one HTTP operation, written down before it leaves and after it ended."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import aiohttp
import msgspec

from loadtest.checker.records import OPERATIONS, EventType, OpKind
from loadtest.history.asked import SentCheckout, SentOperation
from loadtest.history.orders import SentOrder
from loadtest.history.plan import Storefront
from loadtest.history.recorder import Line, Recorder

HTTP_PAYMENT_REQUIRED = 402
HTTP_SERVER_ERROR = 500
HTTP_UNAVAILABLE = 503
HTTP_TIMEOUT = 408

TERMINAL = frozenset({"succeeded", "failed", "canceled", "expired"})
# A payment that waits for its storefront rests as well as one that has ended.
AT_REST = TERMINAL | {"requires_capture", "partially_captured"}


class Ended(NamedTuple):
    """How an operation ended. ``status`` is 0 when no answer came."""

    type: EventType
    status: int
    body: bytes

    @property
    def document(self) -> Mapping[str, object]:
        try:
            document = msgspec.json.decode(self.body)
        except msgspec.MsgspecError:
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def payment_status(self) -> str:
        """The payment's state, where the answer shows one."""
        document = self.document
        inner = document.get("payment", document)
        return str(inner.get("status", "")) if isinstance(inner, dict) else ""

    @property
    def is_ok(self) -> bool:
        """Whether it was acknowledged."""
        return self.type is EventType.OK

    def shown(self, kind: OpKind) -> Mapping[str, object]:
        """The operation that an answer shows: a problem of one that failed holds it by its kind."""
        document = self.document
        inner = document.get(kind, document)
        return inner if isinstance(inner, dict) else {}

    @property
    def is_worth_another_try(self) -> bool:
        """Whether a good client sends the same once more."""
        return self.status == 0 or self.status >= HTTP_SERVER_ERROR or self.status == HTTP_TIMEOUT


class Clients:
    """Sends to any of the gateways, and writes everything down."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        gateway_urls: Sequence[str],
        recorder: Recorder,
        draw: random.Random,
    ) -> None:
        self._session = session
        self._gateway_urls = gateway_urls
        self._recorder = recorder
        self._draw = draw

    async def post(self, order: SentOrder, *, is_shuffled: bool = False, wait_s: int = 0) -> Ended:
        """Post an order; ``wait_s`` asks to hold the answer for the outcome."""
        headers = _posting(order.key, wait_s)
        body = order.body(self._draw if is_shuffled else None)
        storefront = order.storefront
        op = self._recorder.invoke(
            Line(
                kind=OpKind.POST,
                merchant=storefront.merchant,
                mode=storefront.mode,
                key=order.key,
                fingerprint=order.fingerprint,
                amount=order.amount_minor,
                currency=order.currency,
                seller=order.seller,
                token=order.token,
                metadata=order.metadata,
                wait_s=wait_s,
            )
        )
        return await self._ended(op, "POST", "/v1/payments", storefront, headers, body)

    async def operate(self, operation: SentOperation, wait_s: int = 0) -> Ended:
        """Ask for a capture, void or refund."""
        storefront = operation.storefront
        op = self._recorder.invoke(
            Line(
                kind=operation.kind,
                merchant=storefront.merchant,
                mode=storefront.mode,
                key=operation.key,
                payment=operation.payment,
                fingerprint=operation.fingerprint,
                amount=operation.amount_minor or 0,
                wait_s=wait_s,
            )
        )
        headers = _posting(operation.key, wait_s)
        return await self._ended(
            op, "POST", operation.path, storefront, headers, operation.body, operation.kind
        )

    async def check_out(self, checkout: SentCheckout, wait_s: int = 0) -> Ended:
        """Ask for a checkout."""
        storefront = checkout.storefront
        op = self._recorder.invoke(
            Line(
                kind=OpKind.CHECKOUT,
                merchant=storefront.merchant,
                mode=storefront.mode,
                key=checkout.key,
                fingerprint=checkout.fingerprint,
                orders=checkout.orders,
                wait_s=wait_s,
            )
        )
        headers = _posting(checkout.key, wait_s)
        return await self._ended(op, "POST", "/v1/checkouts", storefront, headers, checkout.body)

    async def checkout(self, checkout: SentCheckout) -> Ended:
        """Read one checkout."""
        path = f"/v1/checkouts/{checkout.public_id}"
        return await self._read(OpKind.GET_CHECKOUT, checkout.storefront, checkout.key, path)

    async def refunds(self, storefront: Storefront, payment: str) -> Ended:
        """Read a payment's refunds."""
        path = f"/v1/payments/{payment}/refunds"
        return await self._read(OpKind.REFUNDS, storefront, payment, path)

    async def refund(self, storefront: Storefront, refund_id: str) -> Ended:
        """Read one refund by its public id."""
        path = f"/v1/refunds/{refund_id}"
        return await self._read(OpKind.GET_REFUND, storefront, refund_id, path)

    async def get(self, storefront: Storefront, key: str) -> Ended:
        """Read one order."""
        return await self._read(OpKind.GET, storefront, key, f"/v1/payments/{key}")

    async def wallet(self, storefront: Storefront, owner: str) -> Ended:
        """Read one wallet."""
        return await self._read(OpKind.WALLET, storefront, owner, f"/v1/wallets/{owner}")

    async def newest(self, storefront: Storefront) -> Ended:
        """Read the newest orders."""
        return await self._read(OpKind.LIST, storefront, "", "/v1/payments?limit=5")

    async def _read(self, kind: OpKind, storefront: Storefront, key: str, path: str) -> Ended:
        line = Line(kind=kind, merchant=storefront.merchant, mode=storefront.mode, key=key)
        op = self._recorder.invoke(line)
        return await self._ended(op, "GET", path, storefront, {}, None)

    async def _ended(
        self,
        op: int,
        method: str,
        path: str,
        storefront: Storefront,
        headers: Mapping[str, str],
        body: bytes | None,
        kind: OpKind = OpKind.POST,
    ) -> Ended:
        url = self._draw.choice(self._gateway_urls) + path
        headers = {**headers, "Authorization": f"Bearer {storefront.api_key}"}
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                raw = await answer.read()
                status, got = answer.status, answer.headers
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            self._recorder.unanswered(op, f"{type(fault).__name__}: {fault}")
            return Ended(EventType.INFO, 0, b"")
        ended = Ended(_type_of(status, raw, kind), status, raw)
        self._recorder.answered(op, ended.type, status, got, raw)
        return ended


def _posting(key: str, wait_s: int) -> dict[str, str]:
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    if wait_s:
        headers["Prefer"] = f"wait={wait_s}"
    return headers


def _type_of(status: int, body: bytes, kind: OpKind) -> EventType:
    """Return what is certain after an answer. Only a 503 that says so certainly had no effect.

    A problem that shows the operation that was asked for is that one's end: it was taken in, and refused.
    """
    if status < 300 or status == HTTP_PAYMENT_REQUIRED:
        return EventType.OK
    document = Ended(EventType.INFO, status, body).document
    if status < HTTP_SERVER_ERROR:
        is_end = kind in OPERATIONS and isinstance(document.get(kind), dict)
        return EventType.OK if is_end else EventType.FAIL
    if status == HTTP_UNAVAILABLE:
        details = document.get("details")
        if isinstance(details, dict) and details.get("may_run") is False:
            return EventType.FAIL
    return EventType.INFO
