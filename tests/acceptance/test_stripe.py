"""A whole stack with Stripe as its provider, from the API to the books and back.

Two imitations stand beside it: localstripe, which is somebody else's reading of Stripe's documentation,
and the simulator in Stripe's shapes, which can do what localstripe can't: lose answers, and keep them.
"""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import StackFactory
from tests.acceptance.running_stack import RunningStack
from tests.shop import Shop, dispute, open_shop, oracle
from tests.simulator_process import LocalstripeProcess, SimulatorProcess

SECRET_KEY = "sk_test_of_the_imitations"
WEBHOOK_SECRET = "whsec_of_a_test_that_is_long_enough"
OVERRIDES = """
[[psps]]
name = "{name}"
kind = "stripe"
url = "{url}"
secret_key_file = "secrets/stripe_secret_key"
return_url = "https://shop.example/back"
webhook_secret_files = ["secrets/stripe_webhook"]

[actors]
call_timeout_ms = 1000

# Nobody asks what became of a buyer's action: only a webhook can tell.
[retry.requires_action]
strategy = "fixed"
first_ms = 600000
max_ms = 600000
"""


def at(url: str, form: dict[str, str] | None = None) -> Any:
    """Ask an imitation itself; a form is posted."""
    body = None if form is None else urllib.parse.urlencode(form).encode()
    headers = {"Authorization": f"Bearer {SECRET_KEY}"}
    request = urllib.request.Request(url, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
        is_json = "json" in answer.headers.get("Content-Type", "")
        return json.loads(text) if text and is_json else None


def started(stack: RunningStack, name: str, url: str) -> Path:
    """Start a stack whose one provider is at ``url``; returns the file of the webhooks' secret."""
    secrets = stack.home / "secrets"
    secrets.mkdir(mode=0o700)
    texts = {"stripe_secret_key": SECRET_KEY, "stripe_webhook": WEBHOOK_SECRET}
    for file_name, text in texts.items():
        (secrets / file_name).write_text(text)
        (secrets / file_name).chmod(0o600)
    (stack.home / "overrides.toml").write_text(OVERRIDES.format(name=name, url=url))
    stack.up("--hosts-without-ray", "--no-demo")
    return secrets / "stripe_webhook"


def all_is_well(stack: RunningStack) -> None:
    """The books verify, nothing contradicts them, and no file of the stack tells the secret."""
    assert stack.json("psp-events", "list", "--result", "contradicts")["psp_events"] == []
    verified = stack.tally("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    written = stack.logs() + (stack.home / "tallystick.toml").read_text()
    assert SECRET_KEY not in written


def matched_count(stack: RunningStack) -> int:
    """How many lines of Stripe's report the books agree with; no other line may contradict them.

    The report is read by the hour, the second part is longer, and a charge that moved in two parts has a line in
    each: with one hour, a part would end now.
    """
    reconciled = stack.json("reconcile", "--psp", "stripe", "--since", "2h")
    assert reconciled["breaks"] == 0
    return int(reconciled["matched"])


def shop_of(stack: RunningStack) -> Any:
    """The sandbox merchant's storefront."""
    api_key = (stack.home / "secrets" / "sandbox_api_key").read_text().strip()
    return open_shop(stack.status()["gateway_url"], api_key)


async def until_action(shop: Shop, key: object) -> str:
    """Wait until a payment wants its buyer; returns where the buyer is sent."""
    async with asyncio.timeout(20):
        while True:
            payment = (await shop.get(f"/v1/payments/{key}")).body
            if payment["status"] == "requires_action":
                return str(payment["next_action"]["url"])
            await asyncio.sleep(0.1)


def test_payments_live_their_whole_life_at_stripe(stack_factory: StackFactory) -> None:
    """Charged, declined, confirmed by the buyer, captured, voided, refunded: each ends as Stripe has it."""
    with LocalstripeProcess() as localstripe:
        stack = stack_factory()
        started(stack, "stripe", localstripe.url)
        hook = {
            "url": f"{stack.status()['gateway_url']}/v1/psp/stripe/webhooks",
            "secret": WEBHOOK_SECRET,
        }
        at(f"{localstripe.url}/_config/webhooks/tally", hook)
        asyncio.run(charge(stack, localstripe.url))
        assert matched_count(stack) == 2
        asyncio.run(operate(stack, localstripe.url))
        # The one captured later is among them; of the one voided, no money moved.
        assert matched_count(stack) == 3
        all_is_well(stack)


async def charge(stack: RunningStack, url: str) -> None:
    """One payment that succeeds, one that is declined, one whose buyer confirms it."""
    async with shop_of(stack) as shop:
        charged = (await shop.post(token="pm_card_visa", wait_s=20)).body
        assert (charged["status"], charged["psp"]) == ("succeeded", "stripe"), charged
        assert charged["attempts"] == 1
        intent = at(f"{url}/v1/payment_intents/{charged['psp_reference']}")
        assert (intent["status"], intent["amount"]) == ("succeeded", 1999)
        assert intent["metadata"]["tally_order"] == charged["id"]
        declined = await shop.post(token="pm_card_chargeCustomerFail", wait_s=20)
        assert (declined.status, declined.body["code"]) == (402, "declined")
        await confirm_by_buyer(shop, url)


async def operate(stack: RunningStack, url: str) -> None:
    """One authorization that is captured and refunded in part, and one that is voided."""
    async with shop_of(stack) as shop:
        await capture_and_refund(shop, url)
        held = (await shop.post(token="pm_card_visa", wait_s=20, capture="manual")).body
        voided = (await shop.operate(f"/v1/payments/{held['id']}/void")).body
        assert (voided["object"], voided["status"]) == ("void", "succeeded"), voided
        assert (await shop.get(f"/v1/payments/{held['id']}")).body["status"] == "canceled"
        assert at(f"{url}/v1/payment_intents/{held['psp_reference']}")["status"] == "canceled"


async def capture_and_refund(shop: Shop, url: str) -> None:
    """A part of an authorization is taken, and a part of that is given back."""
    held = (await shop.post(token="pm_card_visa", wait_s=20, capture="manual")).body
    assert held["status"] == "requires_capture", held
    path = f"/v1/payments/{held['id']}"
    for operation, amount in (("captures", 1200), ("refunds", 500)):
        done = (await shop.operate(f"{path}/{operation}", amount=amount)).body
        assert (done["status"], done["amount"]) == ("succeeded", amount), done
    after = (await shop.get(path)).body
    assert (after["amount_captured"], after["amount_refunded"]) == (1200, 500), after
    intent = at(f"{url}/v1/payment_intents/{held['psp_reference']}")
    assert (intent["status"], intent["amount_received"]) == ("succeeded", 1200)
    refunds = at(f"{url}/v1/refunds?payment_intent={held['psp_reference']}")["data"]
    # localstripe calls what a partial capture leaves a refund.
    assert sorted(refund["amount"] for refund in refunds) == [500, 799]


async def confirm_by_buyer(shop: Shop, url: str) -> None:
    """A card that wants 3-D Secure: the buyer says yes at Stripe, and a webhook tells."""
    card = {"number": "4000002500003155", "exp_month": "12", "exp_year": "2030", "cvc": "123"}
    form = {"type": "card", **{f"card[{name}]": value for name, value in card.items()}}
    method = at(f"{url}/v1/payment_methods", form)
    answer = await shop.post(token=method["id"])
    reference = (await until_action(shop, answer.key)).rpartition("/")[2]
    path = f"{url}/v1/payment_intents/{reference}"
    at(f"{path}/_authenticate", {"client_secret": at(path)["client_secret"], "success": "true"})
    ended = await shop.settled(answer.key)
    assert (ended["status"], ended["psp_reference"]) == ("succeeded", reference)


def test_lost_and_kept_answers_charge_once(stack_factory: StackFactory, tmp_path: Path) -> None:
    """What localstripe can't do: answers that get lost, failures that are replayed, denials, disputes."""
    port = free_port()
    stack = stack_factory()
    secret_file = started(stack, "stripe", f"http://127.0.0.1:{port}")
    hook = f"{stack.status()['gateway_url']}/v1/psp/stripe/webhooks"
    options = (
        *("--webhook-url", hook, "--webhook-secret-file", str(secret_file)),
        *("--webhook-shape", "stripe", "--webhooks"),
    )
    with SimulatorProcess(tmp_path, port=port, options=options) as simulator:
        asyncio.run(lose_and_keep(stack, simulator.url))
        all_is_well(stack)
        assert matched_count(stack) == CHARGED


ENDS = {
    "pm_card_visa": "succeeded",
    "pm_charge_then_timeout": "succeeded",
    "pm_charge_then_refuse": "succeeded",
    "pm_conflict_409": "succeeded",
    "pm_stored_500": "succeeded",
    "pm_rate_limited": "succeeded",
    "pm_timeout_before": "succeeded",
    # The failure is kept under the key, so the PaymentIntent is canceled: surely not charged.
    "pm_error_500": "canceled",
    "pm_decline_do_not_honor": "failed",
}

# Four of each, one that is captured by hand, and one whose buyer confirms it.
CHARGED = 4 * list(ENDS.values()).count("succeeded") + 2


async def lose_and_keep(stack: RunningStack, url: str) -> None:
    """Some payments of each kind; the provider's own record is the truth about them."""
    async with shop_of(stack) as shop:
        posted = {
            token: [await shop.post(token=token, amount_minor=700 + n) for n in range(4)]
            for token in ENDS
        }
        for token, answers in posted.items():
            for answer in answers:
                ended = await shop.settled(answer.key, timeout_s=60)
                assert ended["status"] == ENDS[token], (token, ended)
        await capture_once(shop)
        waiting = await shop.post(token="pm_card_authenticationRequired")
        at(await until_action(shop, waiting.key), {"decision": "complete"})
        confirmed = await shop.settled(waiting.key)
        assert confirmed["status"] == "succeeded"
        await lose_a_dispute(shop, url, confirmed)
    charged = [row["order_key"] for row in await oracle(url) if row["captured"]]
    assert len(charged) == len(set(charged)) == CHARGED


async def capture_once(shop: Shop) -> None:
    """What a partial capture leaves is released at Stripe: a second one fails, for good, and moves nothing."""
    held = (await shop.post(token="pm_card_visa", wait_s=20, capture="manual")).body
    path = f"/v1/payments/{held['id']}"
    first = await shop.operate(f"{path}/captures", amount=900)
    assert (first.status, first.body["status"]) == (201, "succeeded")
    second = await shop.operate(f"{path}/captures", amount=100)
    assert (second.status, second.body["code"]) == (402, "declined"), second.raw
    assert second.body["decline_code"] == "charge_not_authorized"
    after = (await shop.get(path)).body
    assert (after["status"], after["amount_captured"]) == ("partially_captured", 900)


async def lose_a_dispute(shop: Shop, url: str, payment: dict[str, Any]) -> None:
    """Stripe's webhooks of a dispute name no key of ours: the books know whose PaymentIntent it is."""
    reference = payment["psp_reference"].replace("pi_", "ch_", 1)
    path = f"/v1/payments/{payment['id']}/transfers"
    for end, kind in (("", "dispute"), ("/lose", "dispute_lost")):
        await dispute(url, reference, end)
        async with asyncio.timeout(30):
            while kind not in {row["kind"] for row in (await shop.get(path)).body["data"]}:
                await asyncio.sleep(0.2)
    (told,) = (await shop.get("/v1/disputes")).body["data"]
    assert (told["payment"], told["status"]) == (payment["id"], "lost")
    assert (told["amount"], told["psp"]) == (payment["amount"], "stripe")


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
