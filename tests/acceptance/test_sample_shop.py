"""The sample shop in a real browser, on the payment page of a real simulator, through real stores.

Webhooks alone tell how a page ended: the provider's tell us, whose owners are told not to ask, and ours tell
the shop, which asks by itself as rarely. One page is left alone at the beginning, and has expired in the end.
``TALLY_SCREENSHOTS=DIR`` keeps a picture of each step.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tallystick.webhooks import sign
from tests.rig import Rig, free_port
from tests.servers import SharedServers

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("Debian's chromium is not installed", allow_module_level=True)

T = TypeVar("T")

SHOP = Path(__file__).parents[2] / "docs" / "examples" / "shop" / "shop.py"
START_S_MAX = 20.0
# Longer than the suite: the shop is told by webhooks, or asks where its page is looked at.
NEVER_S = 3_600.0
# Long enough for every other test to begin and end its payment, on a machine that others use, too.
ACTION_S_MAX = 60
CONFIG = f"""
[retry.requires_action]
strategy = "fixed"
first_ms = 600000
age_s_max = {ACTION_S_MAX}
"""
PAYS, ASKS, DECLINED, LIMITED = (
    "4242 4242 4242 4242",
    "4000 0000 0000 3220",
    "4000 0000 0000 0002",
    "4000 0000 0000 5126",
)

FORGED = b'{"id": "evt_a", "type": "payment_order.succeeded", "object_id": "a"}'
FORGED_SECRET = f"whsec_{base64.b64encode(bytes(32)).decode()}"


@dataclass
class Market:
    """The shop's address, what stands behind it, and a browser."""

    rig: Rig
    dispatcher: subprocess.Popen[bytes]
    url: str
    browser: Browser
    pictures: Path
    abandoned: str = ""
    """Where the sale stands whose page was left alone."""
    picture_count: int = 0

    def buyer(self) -> BrowserContext:
        """Somebody with an empty browser."""
        context = self.browser.new_context(viewport={"width": 900, "height": 760})
        context.set_default_timeout(20_000)
        return context

    def to_the_page(
        self, context: BrowserContext, *, boots: str = "1", socks: str = "2", url: str = ""
    ) -> Page:
        """Buy, and stand on the payment page."""
        page = context.new_page()
        page.goto(url or self.url)
        page.select_option("#boots", boots)
        page.select_option("#socks", socks)
        page.click("#buy")
        page.wait_for_selector("#pay")
        return page

    def picture(self, page: Page, name: str) -> None:
        self.picture_count += 1
        path = self.pictures / f"{self.picture_count:02}-{name}.png"
        page.screenshot(path=str(path), full_page=True)


def enter(page: Page, number: str) -> None:
    page.fill("#number", number)
    page.fill("#expiry", "12/30")
    page.fill("#code", "123")


def until_told(page: Page, text: str) -> None:
    """Wait until the shop says so. While it waits for the provider the page looks again by itself."""
    page.wait_for_selector(f"#state:has-text('{text}')", timeout=30_000)


@pytest.fixture(scope="module")
def market(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """A gateway, a host, the simulator with its webhooks, the shop, and chromium."""
    directory = tmp_path_factory.mktemp("shop")
    with Rig(servers, directory, has_webhooks=True, more_config=CONFIG) as rig:
        rig.start_gateway()
        rig.start_host("host-0")
        dispatcher = rig.start_dispatcher()
        asyncio.run(rig.until_owned_by("host-0"))
        asyncio.run(rig.until_ready())
        url = _shop(rig, "shop", look_every_s=NEVER_S)
        _until_logged(rig, "shop", "webhooks come to")
        pictures = Path(os.environ.get("TALLY_SCREENSHOTS", str(directory)))
        pictures.mkdir(parents=True, exist_ok=True)
        with sync_playwright() as started:
            browser = started.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox"], headless=True
            )
            market = Market(rig, dispatcher, url, browser, pictures)
            context = market.buyer()
            market.to_the_page(context)
            market.abandoned = _sale_of(rig)
            context.close()
            yield market
            browser.close()


def told(asking: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread of its own: playwright's loop has this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, asking).result()


def _shop(rig: Rig, name: str, *, look_every_s: float) -> str:
    """Start a shop as its README says; return its address."""
    port = free_port()
    arguments = ["--api", rig.url, "--port", str(port), "--look-every-s", str(look_every_s)]
    with (rig.directory / f"{name}.log").open("wb") as log:
        shop = subprocess.Popen(
            [sys.executable, str(SHOP), *arguments],
            env={**os.environ, "TALLYSTICK_API_KEY": rig.api_key},
            stdout=log,
            stderr=log,
        )
    rig.processes.append(shop)
    url = f"http://127.0.0.1:{port}"
    _until_listening(url)
    return url


def _until_logged(rig: Rig, name: str, text: str) -> None:
    ends_s = time.monotonic() + START_S_MAX
    while text not in rig.log_of(name):
        assert time.monotonic() < ends_s, f"{name} did not say {text!r}: {rig.log_of(name)}"
        time.sleep(0.05)


def _until_listening(url: str) -> None:
    ends_s = time.monotonic() + START_S_MAX
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < ends_s, "the shop did not start"
            time.sleep(0.1)


def _sale_of(rig: Rig) -> str:
    """Where the latest checkout sends its buyer back to."""
    (row,) = told(rig.fetch("SELECT success_url FROM checkout ORDER BY accepted_at DESC LIMIT 1"))
    return str(row["success_url"]).partition("?")[0]


def test_a_buyer_pays_by_card(market: Market) -> None:
    """Two sellers' goods, one card, one page: both orders are paid, and the shop says so."""
    context = market.buyer()
    page = context.new_page()
    page.goto(market.url)
    market.picture(page, "goods")
    page.click("#buy")
    page.wait_for_selector("#pay")
    page.click("summary")
    market.picture(page, "payment-page")
    enter(page, PAYS)
    page.click("#pay")
    until_told(page, "Paid. Thank you!")
    assert page.url.startswith(market.url)
    assert page.locator("td.succeeded").count() == 2
    market.picture(page, "paid")
    context.close()


def test_a_declined_card_is_told_and_another_one_pays(market: Market) -> None:
    """The page says why and takes the next card; nothing of the first is charged.

    A double click is one try, and the way back from the shop asks nobody to send a form again.
    """
    context = market.buyer()
    page = market.to_the_page(context)
    page.fill("#number", "1")
    page.fill("#expiry", "13/30")
    page.fill("#code", "1")
    page.click("#pay")
    page.wait_for_selector("#number-problem")
    market.picture(page, "wrong-form")
    enter(page, DECLINED)
    page.dblclick("#pay")
    page.wait_for_selector("text=Your bank declined this card. Try another card: 2 tries left.")
    market.picture(page, "declined-once")
    enter(page, PAYS)
    page.click("#pay")
    until_told(page, "Paid. Thank you!")
    page.go_back()
    page.wait_for_selector("text=This is paid")
    context.close()


def test_three_declined_cards_end_the_payment(market: Market) -> None:
    """Then the payment has failed, at the provider, in the books and in the shop."""
    context = market.buyer()
    page = market.to_the_page(context, socks="0")
    for _ in range(3):
        enter(page, DECLINED)
        page.click("#pay")
        page.wait_for_selector("[role=alert]")
    page.wait_for_selector("#back")
    market.picture(page, "declined-for-good")
    page.click("#back")
    until_told(page, "was declined")
    assert "your bank said no" in (page.text_content("table") or "")
    market.picture(page, "shop-declined")
    page.click("#again")
    assert page.input_value("#boots") == "1"
    assert page.input_value("#socks") == "0"
    context.close()


def test_a_bank_is_asked_first(market: Market) -> None:
    """3-D Secure: a rejection is told and leads nowhere; a confirmation pays."""
    context = market.buyer()
    page = market.to_the_page(context)
    enter(page, ASKS)
    page.click("#pay")
    page.wait_for_selector("#confirm")
    market.picture(page, "bank-asks")
    page.click("#reject")
    page.wait_for_selector("text=not confirmed")
    enter(page, ASKS)
    page.click("#pay")
    page.click("#confirm")
    until_told(page, "Paid. Thank you!")
    context.close()


def test_a_card_that_pays_one_order_and_not_the_other(market: Market) -> None:
    """Each seller's order fares by itself, and the shop tells which is paid."""
    context = market.buyer()
    page = market.to_the_page(context)
    enter(page, LIMITED)
    page.click("#pay")
    until_told(page, "A part of your order is paid")
    assert page.locator("td.succeeded").count() == 1
    assert page.locator("td.failed").count() == 1
    market.picture(page, "paid-in-part")
    context.close()


def test_cancel_leads_back_and_charges_nothing(market: Market) -> None:
    """The buyer is back in the shop, and the old page takes no card any more."""
    context = market.buyer()
    page = market.to_the_page(context)
    payment_page = page.url
    page.click("#cancel")
    until_told(page, "You canceled")
    market.picture(page, "canceled")
    page.goto(payment_page)
    page.wait_for_selector("text=This payment was canceled")
    market.picture(page, "canceled-page")
    context.close()


def test_a_double_click_pays_once(market: Market) -> None:
    """On the shop's button and on the page's: one checkout, one charge an order."""
    before = _totals(market)
    context = market.buyer()
    page = context.new_page()
    page.goto(market.url)
    page.dblclick("#buy")
    page.wait_for_selector("#pay")
    enter(page, PAYS)
    page.dblclick("#pay")
    until_told(page, "Paid. Thank you!")
    context.close()
    after = _totals(market)
    assert after["charges"] - before["charges"] == 2
    (row,) = told(
        market.rig.fetch(
            "SELECT count(*) AS n FROM checkout WHERE success_url LIKE $1",
            f"%{page.url.partition('?')[0].rpartition('/')[2]}%",
        )
    )
    assert row["n"] == 1


def test_the_way_back_pays_nothing_again(market: Market) -> None:
    """Back on the payment page, and in the shop's form: what is paid is paid, and is told."""
    before = _totals(market)
    context = market.buyer()
    page = market.to_the_page(context)
    enter(page, PAYS)
    page.click("#pay")
    until_told(page, "Paid. Thank you!")
    page.go_back()
    page.wait_for_selector("text=This is paid")
    market.picture(page, "back-on-the-page")
    page.go_back()
    page.wait_for_selector("#buy")
    page.click("#buy")
    page.wait_for_selector("#state, #pay")
    context.close()
    # Whether the browser showed the old form or a new one: this sale was charged once.
    assert _totals(market)["charges"] - before["charges"] == 2


def _pay_and_close(market: Market, url: str) -> str:
    """Pay at a shop and close the browser before it leads back; return the sale's address there."""
    context = market.buyer()
    page = market.to_the_page(context, url=url)
    sale = _sale_of(market.rig)
    context.route(re.compile(re.escape(url)), lambda route: route.abort())
    enter(page, PAYS)
    with page.expect_response(re.compile(r"/pay/[^/]+/done$")):
        page.click("#pay")
    context.close()
    return sale


def test_a_browser_closed_after_paying_changes_nothing(market: Market) -> None:
    """The buyer never comes back: a webhook, signed and verified, tells the shop, which does not ask."""
    sale = _pay_and_close(market, market.url)
    cart = sale.rpartition("/")[2]
    seen = f"sale {cart} is succeeded, seen by webhook payment_order.succeeded"
    _until_logged(market.rig, "shop", seen)
    later = market.buyer()
    page = later.new_page()
    page.goto(sale)
    assert "Paid. Thank" in (page.text_content("#state") or "")
    later.close()
    answers = _simulator(market, "/_sim/webhooks")
    assert answers["true 202"] > 0


def test_without_webhooks_the_shop_asks(market: Market) -> None:
    """Nobody sends any, and the buyer's browser is closed: the shop looks after what is open by itself."""
    with _stopped(market.dispatcher):
        url = _shop(market.rig, "asking-shop", look_every_s=0.5)
        cart = _pay_and_close(market, url).rpartition("/")[2]
        seen = f"sale {cart} is succeeded, seen by the watch"
        _until_logged(market.rig, "asking-shop", seen)


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({}, "missing"),
        (sign(FORGED_SECRET, FORGED, webhook_id="evt_a", timestamp_s=int(time.time())), "secrets"),
    ],
    ids=["unsigned", "forged"],
)
def test_a_webhook_that_is_not_ours_is_refused(
    market: Market, headers: dict[str, str], why: str
) -> None:
    """Whoever knows the shop's address can post to it: without the endpoint's secret nothing is believed."""
    posted = urllib.request.Request(f"{market.url}/webhooks", FORGED, headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(posted, timeout=5)
    refused.value.close()
    assert refused.value.code == 400
    _until_logged(market.rig, "shop", why)


@contextmanager
def _stopped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def test_an_abandoned_page_expires(market: Market) -> None:
    """Its time over, the key is canceled at the provider: nothing is charged, and the shop says so."""
    context = market.buyer()
    page = context.new_page()
    over = "The time to pay is over"
    _reload_until(
        page,
        market.abandoned,
        lambda: over in (page.text_content("#state") or ""),
        timeout_s=ACTION_S_MAX + 30,
    )
    market.picture(page, "expired")
    context.close()


def test_the_books_agree_with_the_provider_in_the_end(market: Market) -> None:
    """What was captured is what the books hold, no order twice; and no card was written anywhere."""
    charges = [
        msgspec.json.decode(line) for line in _fetch(market, "/_oracle/charges").splitlines()
    ]
    captured = {row["order_key"]: row["captured"] for row in charges if row["captured"]}
    assert len(captured) == sum(row["captured"] > 0 for row in charges)
    rows = told(
        market.rig.fetch(
            "SELECT o.idempotency_key, x.amount_captured_minor AS captured FROM order_outcome x"
            " JOIN payment_order o USING (partition_index, order_no)"
            " WHERE x.amount_captured_minor > 0"
        )
    )
    assert {str(row["idempotency_key"]): row["captured"] for row in rows} == captured
    written = "".join(
        path.read_text(encoding="utf-8", errors="replace")
        for path in market.rig.directory.rglob("*")
        if path.is_file() and path.suffix != ".png"
    )
    digits = re.sub(r"[ -]", "", written)
    for number in (PAYS, ASKS, DECLINED, LIMITED):
        assert number.replace(" ", "") not in digits


def _reload_until(
    page: Page, url: str, is_there: Callable[[], bool], *, timeout_s: float = 30.0
) -> None:
    ends_s = time.monotonic() + timeout_s
    while True:
        page.goto(url)
        if is_there():
            return
        assert time.monotonic() < ends_s, page.text_content("#state")
        time.sleep(0.5)


def _fetch(market: Market, path: str) -> bytes:
    async def fetch() -> bytes:
        async with (
            aiohttp.ClientSession() as session,
            session.get(market.rig.simulator.url + path) as answer,
        ):
            return await answer.read()

    return told(fetch())


def _simulator(market: Market, path: str) -> dict[str, int]:
    answer: dict[str, int] = msgspec.json.decode(_fetch(market, path))
    return answer


def _totals(market: Market) -> dict[str, int]:
    return _simulator(market, "/_oracle/totals")
