"""Sends every example of the document to a gateway, and holds its answer against the one that is shown.

Created things come before what reads them. What differs from run to run is not compared: times, ids of ours, what a
provider calls a charge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp

from gateway.openapi.declarations import Access, Example, Tag
from gateway.openapi.document import Route

# Members whose values differ from run to run; that they are there, and what kind they have, is compared.
VARIES = frozenset(
    {
        "as_of",
        "batch",
        "bytes",
        "created_at",
        "effective_at",
        "expires_at",
        "instance",
        "ledger_updated_at",
        "next_action",
        "next_retry_at",
        "order_uuid",
        "partition",
        "psp_reference",
        "redirect_url",
        "request_id",
        "secret",
        "status_at",
        "stream_id",
        "wallet_updated_at",
    }
)
# Of a payment that runs: what is shown until its owner has taken it in, and after that. On a busy machine the
# copies' word may come later than the owner's.
_KNOWN_SOON: Mapping[str, tuple[object, object]] = {"psp": (None, "simulator"), "attempts": (0, 1)}
_OUR_IDS = re.compile(r"\b(mrc|tr|dl|co|rf|we)_[a-z_]+")
# Sellers first: payments are for one of them.
_ORDER = (Tag.SELLERS, Tag.PAYMENTS, Tag.WALLETS)


def examples(routes: Sequence[Route]) -> Iterator[tuple[Route, Example]]:
    """Every example with its route, in an order in which each finds what it needs."""

    def rank(route: Route) -> tuple[int, bool]:
        tag = route.declaration.tag
        return (_ORDER.index(tag) if tag in _ORDER else len(_ORDER), route.method != "POST")

    for route in sorted(routes, key=rank):
        for example in route.declaration.examples:
            yield route, example


async def play(
    session: aiohttp.ClientSession,
    url: str,
    keys: dict[Access, str],
    route: Route,
    example: Example,
) -> str | None:
    """Send one example; return how its answer differs from the one shown, or None."""
    path = route.path
    for name, value in example.path.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    headers = dict(example.headers)
    if route.access in keys:
        headers["Authorization"] = f"Bearer {keys[route.access]}"
    if example.body is not None:
        headers["Content-Type"] = "application/json"
    async with session.request(
        route.method,
        f"{url}{path}?{urlencode(example.query)}" if example.query else f"{url}{path}",
        headers=headers,
        data=None if example.body is None else json.dumps(example.body),
    ) as response:
        body = await response.read()
    if response.status != example.status:
        return f"{response.status} rather than {example.status}: {body.decode()}"
    return None if example.answer is None else difference(example.answer, json.loads(body))


def difference(shown: Any, answered: Any, at: str = "$") -> str | None:
    """Return where an answer is not what is shown, or None."""
    if isinstance(shown, dict) and isinstance(answered, dict):
        if shown.keys() != answered.keys():
            return f"{at} has other members: {sorted(shown.keys() ^ answered.keys())}"
        for name, value in shown.items():
            if name in VARIES and type(value) is type(answered[name]):
                continue
            is_running = shown.get("status") == "processing"
            if is_running and (value, answered[name]) == _KNOWN_SOON.get(name):
                continue
            if (found := difference(value, answered[name], f"{at}.{name}")) is not None:
                return found
        return None
    if isinstance(shown, list) and isinstance(answered, list):
        if len(shown) != len(answered):
            return f"{at} has {len(answered)} items rather than {len(shown)}"
        pairs = enumerate(zip(shown, answered, strict=True))
        return next(
            (found for n, (a, b) in pairs if (found := difference(a, b, f"{at}[{n}]"))), None
        )
    if _plain(shown) == _plain(answered):
        return None
    return f"{at} is {answered!r} rather than {shown!r}"


def _plain(value: Any) -> Any:
    return _OUR_IDS.sub(r"\1_…", value) if isinstance(value, str) else value
