"""The shop's end of webhooks: it makes its endpoint, and believes what is signed with that endpoint's secret.

Three things to copy. The signature is checked over the bytes as they came, before anything reads them. The
answer is 2xx only once the shop knows what it was told: after any other one it is sent again. And an event is
taken for the news that something happened, no more, so one that comes twice or late does no harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from tallystick import ApiError, AsyncTallystick, Event, TallystickError, WebhookVerifier
from tallystick.webhooks import WebhookRefused

# How a payment ends. Meanwhile its buyer is on the way, and asks for the page anyway.
TYPES = tuple(f"payment_order.{end}" for end in ("succeeded", "failed", "canceled", "expired"))

# As many as a merchant may have, so that one page shows all.
ENDPOINTS_MAX = 20
REGISTER_AGAIN_S = 5.0

log = logging.getLogger("shop")


class Receiver:
    """One endpoint of ours, made anew at each start."""

    def __init__(
        self, client: AsyncTallystick, url: str, tell: Callable[[Event], Awaitable[bool]]
    ) -> None:
        """``url``: where Tallystick reaches ``receive``. ``tell`` returns whether the shop knows now."""
        self._client = client
        self._url = url
        self._tell = tell
        self._verifier: WebhookVerifier | None = None

    async def register(self) -> None:
        """Have the ends of payments sent to us. Until that is done, or if it can't be, the shop asks."""
        while self._verifier is None:
            try:
                self._verifier = WebhookVerifier(await self._new_secret())
                log.info("webhooks come to %s", self._url)
            except TallystickError as error:
                log.warning("no webhooks yet: %s", error)
                if isinstance(error, ApiError) and not error.is_retryable:
                    return
                await asyncio.sleep(REGISTER_AGAIN_S)

    async def receive(self, request: web.Request) -> web.Response:
        """Take one webhook."""
        if self._verifier is None:
            raise web.HTTPServiceUnavailable
        try:
            event = self._verifier.verify(await request.read(), request.headers)
        except WebhookRefused as refused:
            log.warning("a webhook that is not to be believed: %s", refused)
            raise web.HTTPBadRequest from None
        if not await self._tell(event):
            raise web.HTTPServiceUnavailable
        return web.Response(status=204)

    async def _new_secret(self) -> str:
        """Make our endpoint, in place of the one that an earlier start made.

        A secret is told once, in this answer. A real shop makes its endpoint once, by hand, and keeps the
        secret where it keeps its API key; then what happens while it is down is told once it is up.
        """
        endpoints = self._client.webhook_endpoints
        for endpoint in (await endpoints.list(limit=ENDPOINTS_MAX)).data:
            if endpoint.url == self._url:
                await endpoints.delete(endpoint.id)
        return (await endpoints.create(url=self._url, types=TYPES)).secret
