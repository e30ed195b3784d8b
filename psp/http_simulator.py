"""The connector to the PSP simulator over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from datetime import datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from payments.attempts import PspAnswer
from psp.classification import classify_query, classify_send, of_another_request
from psp.http_client import CONNECT_TIMEOUT_S, HttpAnswer, PspHttp, named
from psp.port import Capabilities, ChargeTerms, PspUnavailable, SettlementLine
from psp.sandbox_format import CAPABILITIES, canonical_charge, settlement_line
from psp.settings import CONNECTIONS_MAX
from psp.simulator.wire import UNREADABLE, SettlementRow

ANSWER_BYTES_MAX = 65_536
"""Largest answer that is read; ours have about 300 bytes."""

REPORT_SILENCE_S_MAX = 30.0
"""A settlement report may be long, but not silent for longer than this."""

_ROW = msgspec.json.Decoder(SettlementRow)


class SimulatorPsp:
    """One account at a PSP simulator. Build it anywhere; use and close it in one event loop."""

    def __init__(
        self, *, name: str, account: str, url: str, connections_max: int = CONNECTIONS_MAX
    ) -> None:
        self._name = name
        self._account = account
        self._http = PspHttp(
            url,
            headers={"Content-Type": "application/json"},
            connections_max=connections_max,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )

    @property
    def name(self) -> str:
        return self._name

    @property
    def account(self) -> str:
        return self._account

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def canonical_charge(self, terms: ChargeTerms) -> bytes:
        return canonical_charge(terms)

    def charge(
        self, psp_key: str, request: bytes, *, reference: str | None = None, timeout_s: float
    ) -> Coroutine[Any, Any, PspAnswer]:
        return self._send(psp_key, "/v1/charges", request, timeout_s)

    async def capture(
        self, psp_key: str, reference: str, amount_minor: int, *, timeout_s: float
    ) -> PspAnswer:
        body = msgspec.json.encode({"amount": amount_minor})
        return await self._send(psp_key, _charge_path(reference, "capture"), body, timeout_s)

    async def void(self, psp_key: str, reference: str, *, timeout_s: float) -> PspAnswer:
        return await self._send(psp_key, _charge_path(reference, "void"), b"", timeout_s)

    async def refund(
        self, psp_key: str, reference: str, amount_minor: int, *, timeout_s: float
    ) -> PspAnswer:
        body = msgspec.json.encode({"amount": amount_minor})
        return await self._send(psp_key, _charge_path(reference, "refund"), body, timeout_s)

    async def query(self, *, psp_key: str, reference: str | None, timeout_s: float) -> PspAnswer:
        """Ask by key, which the simulator always can: a refund's key must not be answered with the
        state of its charge, which is all that ``reference`` could find.
        """
        path = f"/v1/charges?key={quote(psp_key, safe='')}"
        answered = await self._http.request("GET", path, headers={}, body=None, timeout_s=timeout_s)
        return _of_question(psp_key, answered)

    async def cancel(self, *, psp_key: str, reference: str | None, timeout_s: float) -> PspAnswer:
        path = f"/v1/keys/{quote(psp_key, safe='')}/cancel"
        answered = await self._http.request("POST", path, headers={}, body=b"", timeout_s=timeout_s)
        return _of_question(psp_key, answered)

    async def settlement_report(self, *, since: datetime) -> AsyncIterator[SettlementLine]:
        timeout = aiohttp.ClientTimeout(
            total=None, connect=CONNECT_TIMEOUT_S, sock_read=REPORT_SILENCE_S_MAX
        )
        try:
            async with self._http.session().get(
                f"{self._http.url}/v1/settlements",
                params={"since": since.isoformat()},
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    raise PspUnavailable(self._name, f"HTTP {response.status}")
                async for line in response.content:
                    yield settlement_line(_ROW.decode(line))
        except (aiohttp.ClientError, TimeoutError, *UNREADABLE) as fault:
            raise PspUnavailable(self._name, named(fault)) from fault

    async def close(self) -> None:
        await self._http.close()

    async def _send(self, psp_key: str, path: str, body: bytes, timeout_s: float) -> PspAnswer:
        answered = await self._http.request(
            "POST", path, headers={"Idempotency-Key": psp_key}, body=body, timeout_s=timeout_s
        )
        if isinstance(answered, PspAnswer):
            return answered
        return classify_send(psp_key, answered.status, answered.body)


def _of_question(psp_key: str, answered: HttpAnswer | PspAnswer) -> PspAnswer:
    if isinstance(answered, PspAnswer):
        return of_another_request(answered)
    return classify_query(psp_key, answered.status, answered.body)


def _charge_path(reference: str, change: str) -> str:
    return f"/v1/charges/{quote(reference, safe='')}/{change}"
