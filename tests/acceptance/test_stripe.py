"""A whole stack with Stripe as its provider: localstripe beside it, from the API to the books and back."""

from __future__ import annotations

import asyncio
import json
import urllib.parse
import urllib.request
from typing import Any

from tests.acceptance.conftest import StackFactory
from tests.acceptance.running_stack import RunningStack
from tests.shop import Shop, open_shop
from tests.simulator_process import LocalstripeProcess

SECRET_KEY = "sk_test_localstripe"
WEBHOOK_SECRET = "whsec_of_a_test_that_is_long_enough"
OVERRIDES = """
[[psps]]
name = "stripe"
kind = "stripe"
url = "{url}"
secret_key_file = "secrets/stripe_secret_key"
return_url = "https://shop.example/back"
webhook_secret_files = ["secrets/stripe_webhook"]

# Nobody asks what became of a buyer's action: only a webhook can tell.
[retry.requires_action]
strategy = "fixed"
first_ms = 600000
max_ms = 600000
"""


def of_stripe(url: str, path: str, form: dict[str, str] | None = None) -> Any:
    """Ask localstripe itself; a form is posted."""
    body = None if form is None else urllib.parse.urlencode(form).encode()
    headers = {"Authorization": f"Bearer {SECRET_KEY}"}
    request = urllib.request.Request(url + path, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def started(stack: RunningStack, url: str) -> None:
    """Start a stack whose one provider is at ``url``."""
    secrets = stack.home / "secrets"
    secrets.mkdir(mode=0o700)
    for name, text in (("stripe_secret_key", SECRET_KEY), ("stripe_webhook", WEBHOOK_SECRET)):
        (secrets / name).write_text(text)
        (secrets / name).chmod(0o600)
    (stack.home / "overrides.toml").write_text(OVERRIDES.format(url=url))
    stack.up("--hosts-without-ray", "--no-demo")


def test_payments_go_through_stripe_and_its_webhooks_end_them(stack_factory: StackFactory) -> None:
    """Charged, declined, confirmed by the buyer: each ends as Stripe has it, once, and the books verify."""
    with LocalstripeProcess() as localstripe:
        stack = stack_factory()
        started(stack, localstripe.url)
        asyncio.run(pay(stack, localstripe.url))
        explained = stack.json(
            *("route", "explain", "--amount", "1999", "--currency", "USD"),
            *("--payment-method", "pm_card_visa"),
        )
        assert [said["psp"] for said in explained["psps"]] == ["stripe"]
        assert stack.json("psp-events", "list", "--result", "contradicts")["psp_events"] == []
        verified = stack.tally("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        reconciled = stack.json("reconcile", "--psp", "stripe", "--since", "1h")
        assert (reconciled["matched"], reconciled["breaks"]) == (2, 0)
        written = stack.logs() + (stack.home / "tallystick.toml").read_text()
        assert SECRET_KEY not in written


async def pay(stack: RunningStack, url: str) -> None:
    """One payment of each kind."""
    gateway_url = stack.status()["gateway_url"]
    api_key = (stack.home / "secrets" / "sandbox_api_key").read_text().strip()
    hook = {"url": f"{gateway_url}/v1/psp/stripe/webhooks", "secret": WEBHOOK_SECRET}
    of_stripe(url, "/_config/webhooks/tally", hook)
    async with open_shop(gateway_url, api_key) as shop:
        charged = (await shop.post(token="pm_card_visa", wait_s=20)).body
        assert (charged["status"], charged["psp"]) == ("succeeded", "stripe"), charged
        assert charged["attempts"] == 1
        intent = of_stripe(url, f"/v1/payment_intents/{charged['psp_reference']}")
        assert (intent["status"], intent["amount"]) == ("succeeded", 1999)
        assert intent["metadata"]["tally_order"] == charged["id"]
        declined = await shop.post(token="pm_card_chargeCustomerFail", wait_s=20)
        assert declined.status == 402
        assert declined.body["code"] == "declined"
        await confirm_by_buyer(shop, url)


async def confirm_by_buyer(shop: Shop, url: str) -> None:
    """A card that wants 3-D Secure: the buyer says yes at Stripe, and a webhook tells."""
    card = {"number": "4000002500003155", "exp_month": "12", "exp_year": "2030", "cvc": "123"}
    form = {"type": "card", **{f"card[{name}]": value for name, value in card.items()}}
    method = of_stripe(url, "/v1/payment_methods", form)
    answer = await shop.post(token=method["id"])
    async with asyncio.timeout(20):
        while (waiting := (await shop.get(f"/v1/payments/{answer.key}")).body)[
            "status"
        ] != "requires_action":
            await asyncio.sleep(0.1)
    reference = waiting["next_action"]["url"].rpartition("/")[2]
    path = f"/v1/payment_intents/{reference}"
    secret = of_stripe(url, path)["client_secret"]
    of_stripe(url, f"{path}/_authenticate", {"client_secret": secret, "success": "true"})
    ended = await shop.settled(answer.key)
    assert (ended["status"], ended["psp_reference"]) == ("succeeded", reference)
