"""The connector to Stripe against localstripe: somebody else's reading of Stripe's documentation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from payments.attempts import PspAnswer, ResultClass
from psp.port import ChargeTerms
from psp.stripe.connector import StripePsp
from tests.simulator_process import LocalstripeProcess

TIMEOUT_S = 10.0
SECRET_KEY = "sk_test_localstripe"
VISA = "pm_card_visa"
DECLINED = "pm_card_chargeCustomerFail"
NEEDS_BUYER = "4000002500003155"


@pytest.fixture(scope="module")
def localstripe() -> Iterator[LocalstripeProcess]:
    with LocalstripeProcess() as process:
        yield process


@pytest.fixture
async def psp(localstripe: LocalstripeProcess) -> AsyncIterator[StripePsp]:
    connector = StripePsp(
        name="stripe",
        account="default",
        secret_key=SECRET_KEY,
        is_live=False,
        return_url="https://shop.example/back",
        url=localstripe.url,
    )
    yield connector
    await connector.close()


class Order:
    """One charge and its key."""

    def __init__(self, psp: StripePsp, token: str, **changes: Any) -> None:
        self.psp = psp
        self.order_key: UUID = uuid4()
        self.key = f"tly_{self.order_key.hex}"
        terms = ChargeTerms(
            amount_minor=1_999,
            currency="USD",
            token=token,
            merchant_id="m_shop",
            order_key=self.order_key,
            capture=True,
            description="order 1001",
        )._replace(**changes)
        self.request = psp.canonical_charge(terms)
        self.reference = ""

    async def create(self) -> PspAnswer:
        answer = await self.psp.charge(self.key, self.request, timeout_s=TIMEOUT_S)
        self.reference = answer.reference or ""
        return answer

    async def confirm(self) -> PspAnswer:
        return await self.psp.charge(
            self.key, self.request, reference=self.reference, timeout_s=TIMEOUT_S
        )

    async def run(self) -> PspAnswer:
        created = await self.create()
        assert created.result is ResultClass.PREPARED, created
        return await self.confirm()

    async def ask(self) -> PspAnswer:
        return await self.psp.query(psp_key=self.key, reference=self.reference, timeout_s=TIMEOUT_S)


async def of_stripe(process: LocalstripeProcess, path: str, form: dict[str, str] | None) -> Any:
    """Ask localstripe itself; a form is posted."""
    headers = {"Authorization": f"Bearer {SECRET_KEY}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        method = "GET" if form is None else "POST"
        async with http.request(method, process.url + path, data=form) as response:
            assert response.status == 200, await response.text()
            return await response.json()


async def test_a_charge_runs_only_once_it_is_confirmed(psp: StripePsp) -> None:
    """Created, it has moved nothing; confirmed, it is charged once, and can be asked for."""
    order = Order(psp, VISA)
    created = await order.create()
    assert (created.result, created.captured_minor) == (ResultClass.PREPARED, 0)
    assert (await order.ask()).result is ResultClass.UNKNOWN
    charged = await order.confirm()
    assert (charged.result, charged.captured_minor) == (ResultClass.APPROVED, 1_999)
    assert (charged.currency, charged.reference) == ("USD", order.reference)
    assert await order.ask() == charged
    # Without idempotency this is a mere refusal, and no proof of anything.
    assert (await order.confirm()).result is ResultClass.UNKNOWN


async def test_a_decline_is_final_and_can_be_asked_for(psp: StripePsp) -> None:
    """The bank's no ends the charge, in the answer as in a question."""
    order = Order(psp, DECLINED)
    declined = await order.run()
    assert (declined.result, declined.decline_code) == (
        ResultClass.DECLINED_FINAL,
        "card_declined",
    )
    asked = await order.ask()
    assert (asked.result, asked.decline_code) == (declined.result, declined.decline_code)


async def test_what_was_not_confirmed_is_canceled_for_good(psp: StripePsp) -> None:
    """A canceled PaymentIntent can't be confirmed any more."""
    order = Order(psp, VISA)
    await order.create()
    canceled = await psp.cancel(psp_key=order.key, reference=order.reference, timeout_s=TIMEOUT_S)
    assert canceled.result is ResultClass.CANCELED
    assert (await order.confirm()).result is not ResultClass.APPROVED
    assert (await order.ask()).result is ResultClass.CANCELED


@pytest.mark.parametrize("amount", [1_999, 1_200])
async def test_an_authorization_is_captured_whole_or_in_part(psp: StripePsp, amount: int) -> None:
    """Manual capture holds the money first; then what is named is taken."""
    order = Order(psp, VISA, capture=False)
    held = await order.run()
    assert (held.result, held.captured_minor) == (ResultClass.APPROVED, 0)
    key = f"{order.key}_capture"
    captured = await psp.capture(key, order.reference, amount, timeout_s=TIMEOUT_S)
    assert (captured.result, captured.captured_minor) == (ResultClass.APPROVED, amount)
    asked = await psp.query(psp_key=key, reference=order.reference, timeout_s=TIMEOUT_S)
    assert asked == captured
    assert (await order.ask()).captured_minor == amount


async def test_an_authorization_is_voided(psp: StripePsp) -> None:
    """A void releases the money, and the charge's key is canceled."""
    order = Order(psp, VISA, capture=False)
    await order.run()
    voided = await psp.void(f"{order.key}_void", order.reference, timeout_s=TIMEOUT_S)
    assert voided.result is ResultClass.APPROVED
    assert (await order.ask()).result is ResultClass.CANCELED


async def test_a_refund_is_found_by_its_own_key(psp: StripePsp) -> None:
    """Refunded in part, the refund's key says so, and a key that was never sent says nothing."""
    order = Order(psp, VISA)
    await order.run()
    key = f"{order.key}_refund"
    refunded = await psp.refund(key, order.reference, 500, timeout_s=TIMEOUT_S)
    assert (refunded.result, refunded.currency) == (ResultClass.APPROVED, "USD")
    asked = await psp.query(psp_key=key, reference=order.reference, timeout_s=TIMEOUT_S)
    assert asked == refunded
    never = await psp.query(psp_key="never", reference=order.reference, timeout_s=TIMEOUT_S)
    assert never.result is ResultClass.UNKNOWN


@pytest.mark.parametrize("is_approved", [True, False])
async def test_three_d_secure_sends_the_buyer_away(
    psp: StripePsp, localstripe: LocalstripeProcess, is_approved: bool
) -> None:
    """The buyer is sent to an address; only what was confirmed there is charged."""
    card = {"number": NEEDS_BUYER, "exp_month": "12", "exp_year": "2030", "cvc": "123"}
    method = await of_stripe(
        localstripe,
        "/v1/payment_methods",
        {"type": "card", **{f"card[{name}]": value for name, value in card.items()}},
    )
    order = Order(psp, method["id"])
    waiting = await order.run()
    assert waiting.result is ResultClass.REQUIRES_ACTION
    assert waiting.next_action_url == f"{localstripe.url}/_buyer/{order.reference}"
    path = f"/v1/payment_intents/{order.reference}"
    secret = (await of_stripe(localstripe, path, None))["client_secret"]
    said = {"client_secret": secret, "success": str(is_approved).lower()}
    await of_stripe(localstripe, f"{path}/_authenticate", said)
    ended = await order.ask()
    if is_approved:
        assert (ended.result, ended.captured_minor) == (ResultClass.APPROVED, 1_999)
    else:
        assert (ended.result, ended.decline_code) == (
            ResultClass.DECLINED_FINAL,
            "authentication_failed",
        )


async def test_a_token_that_stripe_does_not_know_charges_nothing(psp: StripePsp) -> None:
    """A creation that is refused leaves nothing that could be confirmed."""
    refused = await Order(psp, "pm_nobody_has_it").create()
    assert refused.result in (ResultClass.NOT_SENT, ResultClass.DECLINED_FINAL)


async def test_the_settlement_report_is_made_of_balance_transactions(psp: StripePsp) -> None:
    """What was captured is a line under our key; refunded later, it comes as it stands then."""
    order, other = Order(psp, VISA), Order(psp, VISA)
    for one in (order, other):
        assert (await one.run()).result is ResultClass.APPROVED
    await psp.refund(f"{order.key}_r", order.reference, 500, timeout_s=TIMEOUT_S)
    since = datetime.now(UTC) - timedelta(days=2)
    lines = {line.psp_key: line async for line in psp.settlement_report(since=since)}
    line = lines[order.key]
    assert (line.captured_minor, line.refunded_minor, line.currency) == (1_999, 500, "USD")
    assert (line.merchant_id, line.order_key) == ("m_shop", order.order_key)
    assert lines[other.key].refunded_minor == 0
