"""``python -m tests.localstripe_server``: localstripe on loopback, in a process of its own.

It is GPL, so nothing but this program imports it. Its own command listens on all interfaces and reads
a pickle from a shared directory: neither happens here. What Stripe documents and localstripe refuses or
leaves out is added, each in one place; what it decides about money stays its own.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

from aiohttp import web
from localstripe import resources


def _keep_in_memory() -> None:
    resources.Store.dump_to_disk = lambda _store: None


def _take_documented_parameters(port: int) -> None:
    """A description, an address to return to, metadata of a capture, a range of times."""
    intent = resources.PaymentIntent
    create = intent._api_create.__func__

    def create_described(cls: Any, /, description: Any = None, **data: Any) -> Any:
        return create(cls, **data)

    intent._api_create = classmethod(create_described)

    def confirm(id: str, return_url: Any = None, **data: Any) -> Any:  # noqa: A002
        confirmed = intent._api_confirm(id, **data)
        if confirmed.next_action and return_url:
            url = f"http://127.0.0.1:{port}/_buyer/{id}"
            confirmed.next_action = {"type": "redirect_to_url", "redirect_to_url": {"url": url}}
        return confirmed

    def capture(id: str, metadata: Any = None, **data: Any) -> Any:  # noqa: A002
        captured = intent._api_capture(id, **data)
        captured.metadata.update(metadata or {})
        return captured

    replaced = {"confirm": confirm, "capture": capture}
    for place, (method, url, function) in enumerate(resources.extra_apis):
        _, _, action = url.partition("/v1/payment_intents/{id}/")
        resources.extra_apis[place] = (method, url, replaced.get(action, function))

    balance = resources.BalanceTransaction
    list_all = balance._api_list_all.__func__

    def list_range(cls: Any, /, url: str, created: Any = None, **data: Any) -> Any:
        listed = list_all(cls, url, **data)
        first, end = (int((created or {}).get(name, 0)) for name in ("gte", "lt"))
        listed._list = [
            one for one in listed._list if one.created >= first and (not end or one.created < end)
        ]
        return listed

    balance._api_list_all = classmethod(list_range)


def _show_documented_amounts() -> None:
    """What was captured: localstripe keeps the whole amount, and refunds the rest."""

    def amount_captured(charge: Any) -> int:
        released = charge.amount - charge.captured_minor if charge.captured else charge.amount
        return int(charge.amount - released)

    capture = resources.Charge._capture

    def capture_noted(charge: Any, amount: Any, on_success: Any = None) -> None:
        capture(charge, amount, on_success)
        charge.captured_minor = charge.amount if amount is None else int(amount)

    resources.Charge._capture = capture_noted
    resources.Charge.captured_minor = property(
        lambda charge: charge.__dict__.get("_captured_minor", charge.amount),
        lambda charge, amount: charge.__dict__.__setitem__("_captured_minor", amount),
    )
    resources.Charge.amount_captured = property(amount_captured)
    resources.PaymentIntent.amount_received = property(
        lambda intent: 0 if intent.latest_charge is None else intent.latest_charge.amount_captured
    )


def main() -> None:
    listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    port = listening.getsockname()[1]
    _keep_in_memory()
    _take_documented_parameters(port)
    _show_documented_amounts()
    # Its routes take the functions as they are when it is imported.
    from localstripe.server import app

    async def tell(_app: web.Application) -> None:
        sys.stdout.write(json.dumps({"port": port}) + "\n")
        sys.stdout.flush()

    app.on_startup.append(tell)
    web.run_app(app, sock=listening, print=None, access_log=None)


if __name__ == "__main__":
    main()
