"""A storefront that keeps every answer as it came: status, headers, bytes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from loadtest.idempotency.verdicts import Violated

PAYMENTS = "/v1/payments"
CHECKOUTS = "/v1/checkouts"

# Longer than the longest Prefer: wait (30 s), so that a missing answer is the deployment's fault.
ANSWER_S_MAX = 40.0
CONNECT_S_MAX = 10.0

Body = Mapping[str, object] | bytes
HeaderFields = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer; ``status`` is 0 when the connection ended without one."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name."""
    raw: bytes = b""

    @property
    def body(self) -> dict[str, Any]:
        """The answer as a JSON object. Raises Violated when it is none."""
        try:
            return msgspec.json.decode(self.raw, type=dict[str, Any])
        except msgspec.DecodeError:
            raise Violated(f"answered {self}, which is no JSON object") from None

    @property
    def code(self) -> str | None:
        """The problem's code; None where the answer is no problem."""
        is_problem = "problem+json" in self.headers.get("content-type", "")
        return str(self.body.get("code")) if is_problem else None

    @property
    def is_replay(self) -> bool:
        return self.headers.get("idempotent-replayed") == "true"

    def __str__(self) -> str:
        if self.status == 0:
            return "nothing"
        code = self.code if "problem+json" in self.headers.get("content-type", "") else None
        return f"{self.status} {code}" if code else str(self.status)


class Storefront:
    """One merchant's connections to a deployment. Use as an async context manager."""

    def __init__(self, url: str, api_key: str) -> None:
        self.url = url.rstrip("/")
        self._authorization = ("Authorization", f"Bearer {api_key}")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Storefront:
        # No limit: twins have to arrive together, each on a connection of its own.
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(
        self,
        key: str | Sequence[str],
        body: Body,
        *,
        wait_s: int = 0,
        headers: HeaderFields = (),
    ) -> Reply:
        """Post a payment order under a key header as it is given; several make several headers."""
        return await self._ask("POST", PAYMENTS, _fields(key, wait_s, headers), _encoded(body))

    async def post_apart(self, key: str, body: Body) -> Reply:
        """Post over a connection that nothing else uses, before or after."""
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            fields = _fields(key, 0, ())
            return await self._ask("POST", PAYMENTS, fields, _encoded(body), session)

    async def post_checkout(self, key: str, body: Body, *, wait_s: int = 0) -> Reply:
        """Post a checkout under its own key."""
        return await self._ask("POST", CHECKOUTS, _fields(key, wait_s, ()), _encoded(body))

    async def operate(
        self, payment: str, path: str, key: str, body: Body, *, wait_s: int = 0
    ) -> Reply:
        """Post a capture, void or refund of a payment; ``path`` is its route's last part."""
        fields = _fields(key, wait_s, ())
        return await self._ask("POST", f"{PAYMENTS}/{payment}/{path}", fields, _encoded(body))

    async def get_checkout(self, checkout_id: str) -> Reply:
        """Read one checkout."""
        return await self._ask("GET", f"{CHECKOUTS}/{checkout_id}", (), None)

    async def get(self, key: str) -> Reply:
        """Read one payment."""
        return await self._ask("GET", f"{PAYMENTS}/{key}", (), None)

    async def transfers(self, key: str) -> Reply:
        """Read a payment's movements of money."""
        return await self._ask("GET", f"{PAYMENTS}/{key}/transfers", (), None)

    async def wallet(self, seller: str) -> Reply:
        """Read a seller's balances."""
        return await self._ask("GET", f"/v1/wallets/{seller}", (), None)

    async def create_seller(self, seller: str) -> Reply:
        """Create a seller that pays no fee, so that its wallet holds the sum of its orders."""
        body = {"id": seller, "name": "Idempotency", "fee": {"basis_points": 0}}
        return await self._ask("POST", "/v1/sellers", _fields((), 0, ()), _encoded(body))

    async def send(self, key: str, body: Body, *, wait_s: int = 0, cut: int = 0) -> OpenExchange:
        """Send a request, less its last ``cut`` bytes, and return without reading the answer.

        Raises OSError or TimeoutError when the deployment can't be reached.
        """
        parts = urlsplit(self.url)
        is_tls = parts.scheme == "https"
        content = _encoded(body)
        fields = [*_fields(key, wait_s, ()), self._authorization]
        fields += [("Host", parts.netloc), ("Content-Length", str(len(content)))]
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        data = f"POST {parts.path}{PAYMENTS} HTTP/1.1\r\n{head}\r\n".encode() + content
        async with asyncio.timeout(CONNECT_S_MAX):
            _, writer = await asyncio.open_connection(
                parts.hostname,
                parts.port or (443 if is_tls else 80),
                ssl=ssl.create_default_context() if is_tls else None,
            )
            writer.write(data[: len(data) - cut])
            await writer.drain()
        return OpenExchange(writer)

    async def _ask(
        self,
        method: str,
        path: str,
        fields: HeaderFields,
        content: bytes | None,
        session: aiohttp.ClientSession | None = None,
    ) -> Reply:
        session = session or self._session
        if session is None:
            raise RuntimeError("a storefront is used in an async with block")
        try:
            async with session.request(
                method,
                self.url + path,
                headers=[*fields, self._authorization],
                data=content,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=ANSWER_S_MAX),
            ) as answer:
                raw = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return Reply(status=0)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Reply(status=answer.status, headers=headers, raw=raw)


class OpenExchange:
    """A connection with a request on it whose answer nobody reads."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    @property
    def port(self) -> int:
        """The connection's port on this side."""
        return int(self._writer.get_extra_info("sockname")[1])

    def end(self) -> None:
        """Close the connection at once, as a client that died would."""
        self._writer.transport.abort()


def _fields(key: str | Sequence[str], wait_s: int, headers: HeaderFields) -> HeaderFields:
    keys = (key,) if isinstance(key, str) else key
    fields = [("Idempotency-Key", each) for each in keys]
    if wait_s:
        fields.append(("Prefer", f"wait={wait_s}"))
    return [("Content-Type", "application/json"), *fields, *headers]


def _encoded(body: Body) -> bytes:
    return body if isinstance(body, bytes) else msgspec.json.encode(body)
