"""The payment page: what a browser may do on it, in any order, charges once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from payments.commands import HOSTED_METHOD, HostedPage
from psp.port import ChargeTerms
from psp.sandbox_format import canonical_charge
from psp.simulator.records import Record
from psp.simulator.sandbox import Sandbox
from psp.simulator.server import SimulatorServer
from psp.simulator.state import SandboxState
from psp.simulator.wire import ChargeRequest, ChargeStatus, Scenario
from runtime.clock import SystemClock

OK, NO = "https://shop.example/ok?cart=<1>", "https://shop.example/no"
PAYS, ASKS, DECLINED, LIMITED = (
    "4242 4242 4242 4242",
    "4000 0000 0000 3220",
    "4000 0000 0000 0002",
    "4000 0000 0000 5126",
)


def request_of(
    amount_minor: int, *, session: str = "co_a", text: str = "two <b>shoes</b>"
) -> bytes:
    return canonical_charge(
        ChargeTerms(
            amount_minor=amount_minor,
            currency="USD",
            token=HOSTED_METHOD,
            merchant_id="mrc_a",
            order_key=UUID(int=amount_minor),
            capture=True,
            description=text,
            hosted=HostedPage(OK, NO, session),
        )
    )


@dataclass
class Site:
    """A simulator with a page for two orders, and a browser that follows nothing by itself."""

    client: TestClient[web.Request, web.Application]
    sandbox: Sandbox
    records: list[Record] = field(default_factory=list)
    reference: str = ""

    async def register(self, *amounts: int, session: str = "co_a") -> None:
        for amount_minor in amounts:
            request = msgspec.json.decode(
                request_of(amount_minor, session=session), type=ChargeRequest
            )
            decision = await self.sandbox.charge(f"key_{session}_{amount_minor}", request)
            assert decision.reply is not None
            body = decision.reply.body
            assert body.next_action_url == f"https://psp.example/pay/{body.reference}"
            self.reference = self.reference or body.reference or ""

    async def get(self, path: str = "") -> tuple[int, str]:
        async with self.client.get(f"/pay/{self.reference}{path}", allow_redirects=False) as answer:
            return answer.status, answer.headers.get("Location", "") or await answer.text()

    async def post(self, path: str = "", **form: str) -> tuple[int, str]:
        async with self.client.post(
            f"/pay/{self.reference}{path}", data=form, allow_redirects=False
        ) as answer:
            return answer.status, answer.headers.get("Location", "") or await answer.text()

    async def pay(self, number: str) -> tuple[int, str]:
        return await self.post("", number=number, expiry="12/30", code="123")

    def statuses(self, session: str = "co_a") -> Sequence[str]:
        charge = self.sandbox.state.charge_of_reference(self.reference)
        assert charge is not None
        return [each.status.value for each in self.sandbox.state.pages.together(charge)]

    async def told(self, answer: tuple[int, str]) -> str:
        """What the page says that an answer leads to: of a form none says anything itself."""
        assert answer == (303, f"/pay/{self.reference}")
        status, text = await self.get()
        assert status == 200
        return text

    @property
    def done(self) -> str:
        return f"/pay/{self.reference}/done"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    state = SandboxState(seed=7)
    records: list[Record] = []

    async def append(record: Record) -> None:
        await asyncio.sleep(0)
        state.apply(record)
        records.append(record)

    sandbox = Sandbox(
        state,
        append=append,
        clock=SystemClock(),
        sleep=asyncio.sleep,
        public_url="https://psp.example",
        scenario=Scenario(),
    )
    server = TestServer(SimulatorServer(sandbox, name="sim").application())
    async with TestClient(server) as client:
        yield Site(client, sandbox, records)


async def test_the_page_shows_what_is_to_be_paid(site: Site) -> None:
    """Every order of the checkout with its words, escaped, and their sum; another checkout's are not there."""
    await site.register(1_999, 550)
    await site.register(7_777, session="co_b")
    status, text = await site.get()
    assert status == 200
    assert text.count("two &lt;b&gt;shoes&lt;/b&gt;") == 2
    assert "19.99 USD" in text
    assert "25.49 USD" in text
    assert "77.77" not in text


async def test_a_page_is_kept_to_itself(site: Site) -> None:
    """No script, nothing from elsewhere, nobody frames it, nobody keeps it."""
    await site.register(1_999)
    async with site.client.get(f"/pay/{site.reference}") as answer:
        text = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"<script|src=|style=|onclick", text)


async def test_a_card_that_pays_charges_every_order_once(site: Site) -> None:
    """The buyer is sent back to the shop; again on the page, there is nothing left to do."""
    await site.register(1_999, 550)
    assert await site.pay(PAYS) == (303, site.done)
    assert site.statuses() == ["captured", "captured"]
    status, text = await site.get("/done")
    assert status == 200
    assert f'content="0; url={OK.replace("<", "&lt;").replace(">", "&gt;")}"' in text
    for answer in (await site.pay(PAYS), await site.post("/cancel")):
        assert answer == (303, site.done)
    status, text = await site.get()
    assert "This is paid" in text
    assert "http-equiv" not in text
    assert site.sandbox.state.totals().by_currency["USD"].captured == 2_549


async def test_two_clicks_at_once_charge_once(site: Site) -> None:
    """Whichever comes first pays; the other finds it paid."""
    await site.register(1_999, 550)
    answers = await asyncio.gather(*(site.pay(PAYS) for _ in range(4)))
    assert answers == [(303, site.done)] * 4
    assert site.sandbox.state.totals().charges == 2
    assert sum(type(record).__name__ == "ChangeRecord" for record in site.records) == 2


async def test_a_declined_card_may_be_followed_by_another(site: Site) -> None:
    """The buyer is told and tries again; nothing is lost and nothing is declined at the merchant."""
    await site.register(1_999)
    text = await site.told(await site.pay(DECLINED))
    assert "declined this card" in text
    assert "2 tries left" in text
    # A reload says the same, and sends nothing.
    assert (await site.get())[1] == text
    assert site.statuses() == ["requires_action"]
    assert await site.pay(PAYS) == (303, site.done)
    assert site.statuses() == ["captured"]


async def test_a_second_click_declines_no_second_time(site: Site) -> None:
    """It sends the form of the first one, which names the tries before it: only one try is used up."""
    await site.register(1_999)
    card = {"number": DECLINED, "expiry": "12/30", "code": "123", "tries": "0"}
    assert 'name="tries" value="0"' in (await site.get())[1]
    answers = await asyncio.gather(*(site.post("", **card) for _ in range(4)))
    text = await site.told(answers[0])
    assert set(answers) == {answers[0]}
    assert "2 tries left" in text
    assert 'name="tries" value="1"' in text


async def test_the_third_declined_card_ends_it(site: Site) -> None:
    """Then the charge is declined for good, with the last card's reason; no further card is taken."""
    await site.register(1_999)
    await site.pay(DECLINED)
    assert "1 try left" in await site.told(await site.pay(DECLINED))
    assert await site.pay("4000 0000 0000 9995") == (303, f"/pay/{site.reference}")
    charge = site.sandbox.state.charge_of_reference(site.reference)
    assert charge is not None
    assert (charge.status, charge.decline_code) == (ChargeStatus.DECLINED, "insufficient_funds")
    status, text = await site.get()
    assert status == 200
    assert NO in text
    assert await site.pay(PAYS) == (303, site.done)
    assert site.statuses() == ["declined"]


async def test_a_bank_asks_first(site: Site) -> None:
    """With 3-D Secure nothing is charged before the buyer confirmed; a rejection is a declined card."""
    await site.register(1_999)
    assert await site.pay(ASKS) == (303, f"/pay/{site.reference}/verify")
    assert site.statuses() == ["requires_action"]
    assert "Your bank asks" in (await site.get("/verify"))[1]
    text = await site.told(await site.post("/verify", decision="reject"))
    assert "not confirmed" in text
    # What was asked was answered: confirming it now means nothing, and the page says what it said.
    assert await site.told(await site.post("/verify", decision="confirm")) == text
    assert (await site.get("/verify")) == (303, f"/pay/{site.reference}")
    await site.pay(ASKS)
    answers = await asyncio.gather(*(site.post("/verify", decision="confirm") for _ in range(2)))
    assert answers == [(303, site.done)] * 2
    assert site.statuses() == ["captured"]


async def test_a_card_may_pay_a_part(site: Site) -> None:
    """Each order fares by itself: what the card can't pay is declined for good, since the rest is paid."""
    await site.register(1_999, 12_000)
    assert await site.pay(LIMITED) == (303, site.done)
    assert site.statuses() == ["captured", "declined"]
    _status, text = await site.get()
    assert "A part of this is paid" in text
    assert "shop.example/ok" in text


async def test_cancel_ends_it_for_good(site: Site) -> None:
    """A buyer who cancels is sent back, and the page takes no card any more."""
    await site.register(1_999, 550)
    assert await site.post("/cancel") == (303, site.done)
    assert site.statuses() == ["canceled", "canceled"]
    assert NO in (await site.get("/done"))[1]
    assert await site.pay(PAYS) == (303, site.done)
    assert site.sandbox.state.totals().charges == 0


async def test_a_page_that_its_merchant_canceled_takes_no_card(site: Site) -> None:
    """The deadline is over, the processor has the key canceled: the buyer is told."""
    await site.register(1_999)
    await site.sandbox.cancel("key_co_a_1999")
    _status, text = await site.get()
    assert "This payment was canceled" in text
    assert await site.pay(PAYS) == (303, site.done)
    assert site.statuses() == ["canceled"]


async def test_a_form_that_is_wrong_charges_nothing(site: Site) -> None:
    """Each field says what is wrong with it, readable by screen readers, and no digit is repeated."""
    await site.register(1_999)
    wrong = {"number": "5555 5555 5555 4444", "expiry": "01/20", "code": "x"}
    text = await site.told(await site.post("", **wrong))
    assert 'aria-describedby="number-problem"' in text
    assert "test cards alone" in text
    assert "This date has passed." in text
    assert "5555" not in text
    assert "Enter the card" in await site.told(await site.post(""))
    # A card that goes on takes what was said away.
    await site.pay(ASKS)
    assert "correct" not in (await site.get())[1]
    assert site.statuses() == ["requires_action"]


async def test_nothing_of_a_card_is_kept(site: Site) -> None:
    """What is durable, and what the state holds, has no card in it."""
    await site.register(1_999)
    await site.pay(PAYS)
    kept = b"".join(map(msgspec.json.encode, site.records)).decode() + repr(
        [getattr(site.sandbox, name) for name in dir(site.sandbox) if not name.startswith("__")]
    )
    assert "4242" not in kept


async def test_an_unavailable_provider_charges_nothing(site: Site) -> None:
    """While it refuses everything the page says so, and works again afterwards."""
    await site.register(1_999)
    site.sandbox.scenario = Scenario(outage=True)
    assert "Nothing was charged" in await site.told(await site.pay(PAYS))
    site.sandbox.scenario = Scenario()
    assert await site.pay(PAYS) == (303, site.done)


async def test_other_references_have_no_page(site: Site) -> None:
    """A charge without a page, and no charge at all, are 404."""
    request = msgspec.json.decode(
        b'{"amount":100,"currency":"USD","token":"tok_3ds"}', type=ChargeRequest
    )
    decision = await site.sandbox.charge("key_plain", request)
    assert decision.reply is not None
    for reference in (decision.reply.body.reference, "ch_x"):
        async with site.client.get(f"/pay/{reference}") as answer:
            assert answer.status == 404


async def test_a_page_outlives_a_restart(site: Site) -> None:
    """The log brings pages back: a new process shows the same charges together."""
    await site.register(1_999, 550)
    again = SandboxState(seed=7)
    for record in site.records:
        again.apply(msgspec.json.decode(msgspec.json.encode(record), type=Record))
    charge = again.charge_of_reference(site.reference)
    assert charge is not None
    assert [each.amount_minor for each in again.pages.together(charge)] == [1_999, 550]
    terms = again.pages.of(charge.key)
    assert terms is not None
    assert (terms.success_url, terms.description) == (OK, "two <b>shoes</b>")


def test_a_charge_without_a_page_is_said_as_ever() -> None:
    """The bytes of an ordinary charge are those of every release before."""
    terms = ChargeTerms(
        amount_minor=100,
        currency="USD",
        token="tok_approve",
        merchant_id="mrc_a",
        order_key=UUID(int=1),
        capture=True,
    )
    assert b"hosted" not in canonical_charge(terms)
