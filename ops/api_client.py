"""A small client of our own API, for the commands that act as a storefront would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp

from ops.faults import GatewayUnreachable

# The longest that the API holds an answer, and time to give it.
REQUEST_TIMEOUT_S = 40.0
WAIT_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAnswer:
    """What came back: a body or, from 400 on, a problem."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def is_problem(self) -> bool:
        return self.status >= 400

    def refusal(self) -> str:
        """A problem for people: its code, and what it says."""
        body = self.body
        text = f"{self.status} {body.get('code', '')}".strip()
        if detail := str(body.get("detail") or "").rstrip("."):
            text += f": {detail}"
        if decline_code := body.get("decline_code"):
            text += f" (decline code {decline_code})"
        return text


class ApiClient:
    """One merchant's connection to one gateway. Use as an async context manager."""

    def __init__(self, gateway_url: str, api_key: str) -> None:
        self._url = gateway_url
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
        )

    async def __aenter__(self) -> ApiClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def get(self, path: str) -> ApiAnswer:
        """Raises GatewayUnreachable."""
        return await self._request("GET", path, {}, None)

    async def post(self, path: str, body: Mapping[str, object]) -> ApiAnswer:
        """Post a body that moves no money. Raises GatewayUnreachable."""
        return await self._request("POST", path, {}, body)

    async def pay(
        self, order: Mapping[str, object], *, idempotency_key: str, wait_s: int = WAIT_S
    ) -> ApiAnswer:
        """Post a payment order and wait for its outcome. Raises GatewayUnreachable."""
        return await self.move(
            "/v1/payments", order, idempotency_key=idempotency_key, wait_s=wait_s
        )

    async def move(
        self,
        path: str,
        body: Mapping[str, object],
        *,
        idempotency_key: str,
        wait_s: int = WAIT_S,
    ) -> ApiAnswer:
        """Post what moves money, under a key, and wait for its outcome. Raises GatewayUnreachable."""
        headers = {"Idempotency-Key": idempotency_key, "Prefer": f"wait={wait_s}"}
        return await self._request("POST", path, headers, body)

    async def _request(
        self, method: str, path: str, headers: Mapping[str, str], body: object
    ) -> ApiAnswer:
        try:
            async with self._session.request(
                method, f"{self._url}{path}", headers=headers, json=body
            ) as response:
                document = await response.json(content_type=None)
                if not isinstance(document, dict):
                    raise GatewayUnreachable(self._url, "the answer is no JSON object")
                return ApiAnswer(
                    status=response.status, headers=dict(response.headers), body=document
                )
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            raise GatewayUnreachable(self._url, str(error) or type(error).__name__) from error
