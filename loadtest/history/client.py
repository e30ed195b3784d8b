"""Clients: one HTTP operation, written down before it leaves and after it ended."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import aiohttp
import msgspec

from loadtest.checker.records import EventType, OpKind
from loadtest.history.orders import SentOrder
from loadtest.history.plan import Storefront
from loadtest.history.recorder import Line, Recorder

HTTP_PAYMENT_REQUIRED = 402
HTTP_SERVER_ERROR = 500
HTTP_UNAVAILABLE = 503
HTTP_TIMEOUT = 408


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
        headers = {"Idempotency-Key": order.key, "Content-Type": "application/json"}
        if wait_s:
            headers["Prefer"] = f"wait={wait_s}"
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
        ended = Ended(_type_of(status, raw), status, raw)
        self._recorder.answered(op, ended.type, status, got, raw)
        return ended


def _type_of(status: int, body: bytes) -> EventType:
    """Return what is certain after an answer. Only a 503 that says so certainly had no effect."""
    if status < 300 or status == HTTP_PAYMENT_REQUIRED:
        return EventType.OK
    if status < HTTP_SERVER_ERROR:
        return EventType.FAIL
    if status == HTTP_UNAVAILABLE:
        details = Ended(EventType.INFO, status, body).document.get("details")
        if isinstance(details, dict) and details.get("may_run") is False:
            return EventType.FAIL
    return EventType.INFO
