"""Routing on a whole stack: rules send payments where they say, and a soft decline sends them on."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from tests.acceptance.conftest import StackFactory
from tests.acceptance.running_stack import RunningStack
from tests.shop import open_shop

RULES = """
[[routing.rules]]
name = "large ones where they arrive"
psps = ["simulator_b"]
amount_min = 100000

[routing]
prefer = "cheapest"
"""
VARIED = 60


def test_rules_and_soft_declines_move_payments(stack_factory: StackFactory) -> None:
    """Large amounts go to the dependable provider, others to the cheap one, and on from there where it
    declines; what is explained is what happens; the books verify.
    """
    stack = stack_factory()
    (stack.home / "overrides.toml").write_text(RULES)
    stack.up("--hosts-without-ray", "--no-demo")
    small, large, varied = asyncio.run(pay(stack))
    assert [small["psp"], large["psp"]] == ["simulator", "simulator_b"]
    assert explained(stack, 500) == ["simulator", "simulator_b"]
    assert explained(stack, 100_000) == ["simulator_b", "simulator"]
    moved = Counter((one["status"], one["psp"], one["attempts"]) for one in varied)
    # A fifth is declined at the first, and hardly any of those at the second.
    assert moved["succeeded", "simulator", 1] > VARIED / 2
    assert moved["succeeded", "simulator_b", 2] > 0
    receipt = stack.tally("pay", "--amount", "500")
    assert "140 basis points + 0.10 USD: 0.17 USD" in receipt.stdout, receipt.stdout
    verified = stack.tally("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def explained(stack: RunningStack, amount: int) -> list[str]:
    """Whom `tally route explain` says are asked, in their order."""
    told = stack.json(
        *("route", "explain", "--amount", str(amount), "--currency", "USD"),
        *("--payment-method", "tok_approve"),
    )
    return [said["psp"] for said in told["psps"]]


async def pay(stack: RunningStack) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """A small payment, a large one, and many that fare as their provider is."""
    api_key = (stack.home / "secrets" / "sandbox_api_key").read_text().strip()
    async with open_shop(stack.status()["gateway_url"], api_key) as shop:
        small = await shop.post(amount_minor=500)
        large = await shop.post(amount_minor=100_000)
        posted = await asyncio.gather(
            *(shop.post(token="tok_varied", amount_minor=700 + n) for n in range(VARIED))
        )
        return (
            await shop.settled(small.key),
            await shop.settled(large.key),
            [await shop.settled(answer.key) for answer in posted],
        )
