"""Providers' webhooks on a whole stack: they end what nobody asks for, whatever else is sent in their name."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import Any

from tests.acceptance.conftest import StackFactory
from tests.acceptance.running_stack import RunningStack
from tests.shop import open_shop

# A charge whose answer got lost is unknown after half a second, and nobody asks for it by itself.
SILENT = """
[actors]
call_timeout_ms = 500

[retry.unknown]
strategy = "fixed"
first_ms = 3600000
"""
PAYMENTS = 30
WRONG = {"duplicate": 1, "reorder": 1, "forge": 1, "replay": 1, "delay_ms": 300}


def at(url: str, document: object | None = None) -> Any:
    """GET, or POST a document."""
    body = None if document is None else json.dumps(document).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_webhooks_end_unknown_outcomes_and_forgeries_do_not(stack_factory: StackFactory) -> None:
    """Each payment ends once, as the provider's record says, by a signed event alone; the books verify."""
    stack = stack_factory()
    (stack.home / "overrides.toml").write_text(SILENT)
    stack.up("--hosts-without-ray", "--no-demo")
    (psp,) = (psp["url"] for psp in stack.status()["psps"] if psp["name"] == "simulator")
    at(f"{psp}/_faults", {"webhooks": WRONG})
    ended = asyncio.run(pay_and_wait(stack))
    assert ended == {
        "tok_charge_then_timeout": {"succeeded"},
        "tok_approve": {"succeeded"},
        "tok_decline_do_not_honor": {"failed"},
    }
    sent = at(f"{psp}/_sim/webhooks")
    assert sent["true 202"] >= 3 * PAYMENTS
    assert sent["forged 403"] >= 3 * PAYMENTS
    assert sent["replayed 403"] >= 3 * PAYMENTS
    assert not [name for name in sent if name.startswith(("forged 2", "replayed 2"))]
    assert stack.json("psp-events", "list", "--result", "contradicts")["psp_events"] == []
    verified = stack.tally("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


async def pay_and_wait(stack: RunningStack) -> dict[str, set[str]]:
    """Post payments of each kind; returns how they ended, by their token."""
    gateway_url = stack.status()["gateway_url"]
    api_key = (stack.home / "secrets" / "sandbox_api_key").read_text().strip()
    tokens = ("tok_charge_then_timeout", "tok_approve", "tok_decline_do_not_honor")
    async with open_shop(gateway_url, api_key) as shop:
        posted = {
            token: await asyncio.gather(
                *(shop.post(token=token, amount_minor=700 + n) for n in range(PAYMENTS))
            )
            for token in tokens
        }
        ended: dict[str, set[str]] = {}
        async with asyncio.timeout(60):
            for token, answers in posted.items():
                ended[token] = set()
                for answer in answers:
                    while True:
                        found = (await shop.get(f"/v1/payments/{answer.key}")).body
                        if found["status"] != "processing":
                            break
                        await asyncio.sleep(0.1)
                    ended[token].add(found["status"])
        # The last duplicates, and what is reordered, come half a second after.
        await asyncio.sleep(2)
        return ended
