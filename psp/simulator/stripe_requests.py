"""What all of the simulator's routes in Stripe's shape do with a request and a decision."""

from __future__ import annotations

from urllib.parse import parse_qsl

from aiohttp import web

from psp.simulator.decided import Decision
from psp.simulator.replies import Reply
from psp.simulator.stripe_shapes import StripeAnswer

PAGE_LINES_MAX = 100
"""As many as Stripe gives at once."""


def page(shown: list[dict[str, object]], limit: int = PAGE_LINES_MAX) -> StripeAnswer:
    body = {"object": "list", "data": shown[:limit], "has_more": len(shown) > limit}
    return StripeAnswer(status=200, body=body)


def key_of(request: web.Request) -> str:
    """Return the idempotency key. Raises ValueError."""
    key = request.headers.get("Idempotency-Key")
    if not key:
        raise ValueError("here an Idempotency-Key is wanted, although Stripe makes one up")
    return key


def fields_of(body: bytes) -> dict[str, str]:
    """Return a form's fields. Raises ValueError."""
    return dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body)))


def reply_of(decision: Decision) -> Reply:
    if decision.reply is None:
        raise web.HTTPInternalServerError
    return decision.reply


def refusal_of(decision: Decision) -> str | None:
    reply = reply_of(decision)
    return reply.body.decline_code if reply.status == 402 else None


def is_done(decision: Decision) -> bool:
    return reply_of(decision).status == 200
