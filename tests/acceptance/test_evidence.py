"""Payments whose provider never tells: an operator's evidence and a settlement report end them."""

from __future__ import annotations

import asyncio
import json
import re
from uuid import uuid4

from tests.acceptance.conftest import StackFactory
from tests.acceptance.running_stack import RunningStack
from tests.shop import open_shop, oracle

# A charge whose answer got lost is unknown after half a second, and nobody asks for it by itself.
SILENT = """
[actors]
call_timeout_ms = 500

[retry.unknown]
strategy = "fixed"
first_ms = 3600000
"""
WHY = "the provider's support confirmed it in ticket 4711"


def unknowns(stack: RunningStack, token: str, *amounts_minor: int) -> list[str]:
    """Post payments that nobody tells the end of; returns their keys once they wait for one."""
    gateway_url = stack.status()["gateway_url"]
    api_key = (stack.home / "secrets" / "sandbox_api_key").read_text().strip()

    async def post() -> list[str]:
        async with open_shop(gateway_url, api_key) as shop:
            answers = await asyncio.gather(
                *(shop.post(token=token, amount_minor=amount) for amount in amounts_minor)
            )
            keys = [str(answer.key) for answer in answers]
            async with asyncio.timeout(30):
                for key in keys:
                    while not (await shop.get(f"/v1/payments/{key}")).body.get("next_retry_at"):
                        await asyncio.sleep(0.1)
            return keys

    return asyncio.run(post())


async def statuses(stack: RunningStack, keys: list[str]) -> list[str]:
    """What the gateway says of each; a command for each would take a second."""
    status = await asyncio.to_thread(stack.status)
    async with open_shop(status["gateway_url"], status["api_key"]) as shop:
        answers = await asyncio.gather(*(shop.get(f"/v1/payments/{key}") for key in keys))
    return [answer.body["status"] for answer in answers]


def resolve(stack: RunningStack, key: str, *options: str) -> tuple[int, str]:
    done = stack.tally("payments", "resolve", key, "--evidence", WHY, *options)
    return done.returncode, done.stdout + done.stderr


def test_what_no_provider_tells_is_resolved_by_evidence(stack_factory: StackFactory) -> None:
    """Charged settles with money, not charged fails, lies and repeats change nothing, the books verify."""
    stack = stack_factory()
    (stack.home / "overrides.toml").write_text(SILENT)
    stack.up("--hosts-without-ray", "--no-demo")
    (charged,) = unknowns(stack, "tok_charge_then_timeout", 700)
    (vanished,) = unknowns(stack, "tok_timeout_before", 700)
    (psp,) = (psp["url"] for psp in stack.status()["psps"] if psp["name"] == "simulator")
    (charge,) = asyncio.run(oracle(psp))
    reference = ("--charged", "--reference", charge["reference"])

    code, told = resolve(stack, charged, *reference, "--amount", "699")
    assert code == 1
    assert "699 USD" in told
    code, told = resolve(stack, str(uuid4()), *reference)
    assert (code, "no payment" in told) == (1, True)
    assert stack.tally("payments", "resolve", charged, "--charged").returncode == 2

    code, told = resolve(stack, charged, *reference)
    assert (code, "succeeded" in told) == (0, True), told
    payment = stack.json("payments", "show", charged)
    assert payment["status"] == "succeeded"
    assert payment["transfers"]
    (balance,) = stack.json("wallet")["balances"]
    assert balance["posted"] > 0

    code, told = resolve(stack, vanished, "--not-charged")
    assert (code, "not_charged" in told) == (0, True), told
    payment = stack.json("payments", "show", vanished)
    assert (payment["status"], payment["failure"]["code"]) == ("failed", "not_charged")

    code, told = resolve(stack, vanished, *reference)
    assert (code, "has ended" in told) == (1, True)
    check_reconciling(stack)


def check_reconciling(stack: RunningStack) -> None:
    """Twenty unknowns resolve at once, and the books verify; then a denied charge is a break."""
    keys = unknowns(stack, "tok_charge_then_timeout", *range(1_000, 1_020))
    counts = stack.json("reconcile", "--psp", "simulator")
    assert (counts["resolved"], counts["matched"], counts["still_unknown"]) == (20, 1, 0)
    assert asyncio.run(statuses(stack, keys)) == ["succeeded"] * 20
    verified = stack.tally("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr

    (denied,) = unknowns(stack, "tok_charge_then_timeout", 333)
    assert resolve(stack, denied, "--not-charged")[0] == 0
    done = stack.tally("reconcile", "--psp", "simulator", "--since", "1h", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["breaks"], told["resolved"], told["matched"]) == (1, 0, 21)
    assert re.search("charged at the PSP, and failed", told["listed"][0]["why"])
    assert stack.json("payments", "show", denied)["status"] == "failed"
