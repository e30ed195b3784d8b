"""Payments whose provider never tells: an operator's evidence and a settlement report end them."""

from __future__ import annotations

import json
import re
from uuid import uuid4

from tests.acceptance.conftest import StackFactory
from tests.acceptance.running_stack import RunningStack

# A charge whose answer got lost is unknown after half a second, and nobody asks for it by itself.
SILENT = """
[actors]
call_timeout_ms = 500

[retry.unknown]
strategy = "fixed"
first_ms = 3600000
"""
WHY = "the provider's support confirmed it in ticket 4711"


def pay(stack: RunningStack, token: str, amount: int = 700) -> str:
    """Take a payment that stays undecided; returns its key."""
    key = str(uuid4())
    stack.tally("pay", "--amount", str(amount), "--token", token, "--key", key)
    payment = stack.json("payments", "show", key)
    assert payment["status"] == "processing", payment
    return key


def resolve(stack: RunningStack, key: str, *options: str) -> tuple[int, str]:
    done = stack.tally("payments", "resolve", key, "--evidence", WHY, *options)
    return done.returncode, done.stdout + done.stderr


def test_what_no_provider_tells_is_resolved_by_evidence(stack_factory: StackFactory) -> None:
    """Charged settles with money, not charged fails, lies and repeats change nothing, the books verify."""
    stack = stack_factory()
    (stack.home / "overrides.toml").write_text(SILENT)
    stack.up("--hosts-without-ray", "--no-demo")
    charged = pay(stack, "tok_charge_then_timeout")
    vanished = pay(stack, "tok_timeout_before")
    reference = ("--charged", "--reference", "ch_1")

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
    verified = stack.tally("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def check_reconciling(stack: RunningStack) -> None:
    """Twenty unknowns resolve at once; then a denied charge is a break, and is left as it is."""
    keys = [pay(stack, "tok_charge_then_timeout", amount) for amount in range(1_000, 1_020)]
    counts = stack.json("reconcile", "--psp", "simulator")
    assert (counts["resolved"], counts["matched"], counts["still_unknown"]) == (20, 1, 0)
    assert all(stack.json("payments", "show", key)["status"] == "succeeded" for key in keys)

    denied = pay(stack, "tok_charge_then_timeout", 333)
    assert resolve(stack, denied, "--not-charged")[0] == 0
    done = stack.tally("reconcile", "--psp", "simulator", "--since", "1h", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["breaks"], told["resolved"], told["matched"]) == (1, 0, 21)
    assert re.search("charged at the PSP, and failed", told["listed"][0]["why"])
    assert stack.json("payments", "show", denied)["status"] == "failed"
