"""A storefront under test: posts orders over HTTP and remembers every answer it got."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import msgspec

# Longer than any deadline of the gateway, so that a missing answer is the gateway's fault.
ANSWER_S_MAX = 45.0

TERMINAL = frozenset({"succeeded", "failed", "canceled", "expired"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer; ``status`` is 0 when the connection gave none."""

    key: UUID
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""

    @property
    def body(self) -> dict[str, Any]:
        decoded: dict[str, Any] = msgspec.json.decode(self.raw)
        return decoded

    @property
    def is_accepted(self) -> bool:
        return 200 <= self.status < 300


class Shop:
    """One merchant's storefront."""

    def __init__(self, url: str, api_key: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._session = session

    async def post(
        self,
        key: UUID | None = None,
        *,
        amount_minor: int = 1999,
        token: str = "tok_approve",
        wait_s: int = 0,
        **fields: object,
    ) -> Answer:
        """Post one payment order. Never raises for what the network does: it answers with status 0."""
        key = key or uuid4()
        headers = {**self._headers, "Idempotency-Key": str(key)}
        if wait_s:
            headers["Prefer"] = f"wait={wait_s}"
        body = {"amount": amount_minor, "currency": "USD", "payment_method": token, **fields}
        return await self._ask("POST", "/v1/payments", key, headers, body)

    async def operate(
        self, path: str, key: UUID | None = None, *, wait_s: int = 20, **fields: object
    ) -> Answer:
        """Ask for a capture, void or refund at its path. Never raises for what the network does."""
        key = key or uuid4()
        headers = {**self._headers, "Idempotency-Key": str(key), "Prefer": f"wait={wait_s}"}
        return await self._ask("POST", path, key, headers, fields)

    async def get(self, path: str, key: UUID | None = None) -> Answer:
        """Get any path of the API."""
        return await self._ask("GET", path, key or uuid4(), self._headers, None)

    async def settled(self, key: UUID, *, timeout_s: float = 30.0) -> dict[str, Any]:
        """Poll one order until it has ended. Fails when it does not."""
        status = "never read"
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    answer = await self.get(f"/v1/payments/{key}", key)
                    if answer.status == 200:
                        status = answer.body["status"]
                        if status in TERMINAL:
                            return answer.body
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{key} is {status} after {timeout_s} s") from None

    async def _ask(
        self, method: str, path: str, key: UUID, headers: dict[str, str], body: object
    ) -> Answer:
        try:
            async with self._session.request(
                method,
                self._url + path,
                headers=headers,
                json=body,
                timeout=aiohttp.ClientTimeout(total=ANSWER_S_MAX),
            ) as response:
                raw = await response.read()
                return Answer(
                    key=key, status=response.status, headers=dict(response.headers), raw=raw
                )
        except (aiohttp.ClientError, TimeoutError):
            return Answer(key=key, status=0)


@asynccontextmanager
async def open_shop(url: str, api_key: str, *, connection_count: int = 100) -> AsyncIterator[Shop]:
    """A storefront with that many connections at most."""
    connector = aiohttp.TCPConnector(limit=connection_count)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Shop(url, api_key, session)


async def oracle(psp_url: str) -> list[dict[str, Any]]:
    """Every charge that the PSP knows of, by its own record."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(psp_url + "/_oracle/charges?after=0") as response,
    ):
        raw = await response.read()
    return [msgspec.json.decode(line) for line in raw.splitlines() if line]


async def successful_charges(psp_url: str, merchant_id: str) -> dict[str, int]:
    """How often each of the merchant's orders was charged: by idempotency key."""
    counts: dict[str, int] = {}
    for charge in await oracle(psp_url):
        if charge["merchant"] == merchant_id and charge["status"] == "captured":
            counts[charge["order_key"]] = counts.get(charge["order_key"], 0) + 1
    return counts


async def complete_action(psp_url: str, reference: str) -> None:
    """Act as the buyer on the PSP's page."""
    await _tell(f"{psp_url}/_sim/actions/{reference}/complete", None)


async def dispute(psp_url: str, reference: str, end: str = "") -> None:
    """Open a dispute as the buyer's bank would, or end it by ``/win`` or ``/lose``."""
    await _tell(f"{psp_url}/_sim/disputes/{reference}{end}", None)


async def set_scenario(psp_url: str, **changes: object) -> None:
    """Change how the simulator behaves."""
    await _tell(f"{psp_url}/_sim/scenario", changes)


async def _tell(url: str, body: object) -> None:
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        assert response.status == 200, await response.text()
