"""``/docs`` in a real browser: it works with this gateway alone, under its policy, and sends requests."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from playwright.async_api import Page, Request, Route, async_playwright, expect

from gateway.checkout_declarations import CHECKOUT_EXAMPLE
from payments.lifecycle import PaymentState
from tests.unit.gateway.stack import GatewayStack, until

# A browser on a machine that runs other tests, too.
expect.set_options(timeout=30_000)

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on PATH: apt-get install chromium"),
]


class Browser:
    """One page of a headless Chromium, and what it asked and complained of."""

    def __init__(self, page: Page, own: str) -> None:
        self.page = page
        self.elsewhere: list[str] = []
        self.complaints: list[str] = []
        self._own = own
        page.on("console", lambda line: self._complain(line.type, line.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def watch(self) -> None:
        """Let requests to the gateway through, and no others."""

        async def decide(route: Route, request: Request) -> None:
            if request.url.startswith((self._own, "data:")):
                await route.continue_()
            else:
                self.elsewhere.append(request.url)
                await route.abort()

        await self.page.route("**/*", decide)

    def _complain(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)


@pytest.fixture
async def stack() -> AsyncIterator[GatewayStack]:
    async with GatewayStack() as opened:
        yield opened


@pytest.fixture
async def browser(stack: GatewayStack) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = await chromium.new_page(viewport={"width": 1280, "height": 900})
        browser = Browser(page, stack.url)
        await browser.watch()
        yield browser
        await chromium.close()


async def test_the_page_shows_the_api_and_tries_it(
    stack: GatewayStack, browser: Browser, tmp_path: Path
) -> None:
    """Every operation is listed; a payment that is posted from the page arrives; nobody else is asked."""
    page = browser.page
    await page.goto(f"{stack.url}/docs")
    routes = stack.gateway.documented_routes()
    await expect(page.locator(".opblock")).to_have_count(len(routes))
    await page.screenshot(path=tmp_path / "docs.png", full_page=True)
    await page.locator("button.authorize").first.click()
    await page.locator(".auth-container input").first.fill(stack.key)
    await page.locator(".auth-btn-wrapper button.authorize").first.click()
    await page.locator(".btn-done").first.click()
    block = page.locator("#operations-Payments-create_payment")
    await block.locator(".opblock-summary").click()
    await block.get_by_role("button", name="Try it out").click()
    await page.screenshot(path=tmp_path / "try.png")
    await block.locator(".examples-select select").first.select_option("accepted")
    await block.get_by_role("button", name="Execute").click()
    await until(lambda: len(stack.queued()) == 1, timeout_s=20.0)
    stack.take_in(PaymentState.SUCCEEDED)
    answer = block.locator(".live-responses-table")
    await expect(answer.locator("tbody .response-col_status").first).to_contain_text("201")
    await answer.scroll_into_view_if_needed()
    await page.screenshot(path=tmp_path / "tried.png")
    # The orders of an example are used up by the first who sends it: each visit has its own.
    block = page.locator("#operations-Checkouts-create_checkout")
    await block.locator(".opblock-summary").click()
    await block.get_by_role("button", name="Try it out").click()
    (order,) = json.loads(await block.locator("textarea").input_value())["orders"]
    assert UUID(order["id"]).version == 4
    assert order["id"] not in json.dumps(CHECKOUT_EXAMPLE)
    await page.screenshot(path=tmp_path / "checkout.png")
    assert browser.elsewhere == []
    assert browser.complaints == []


async def test_the_page_of_problems_is_readable(
    stack: GatewayStack, browser: Browser, tmp_path: Path
) -> None:
    """A problem's type opens at its explanation, with an example and what to do."""
    page = browser.page
    await page.goto(f"{stack.url}/docs/problems#idempotency_key_reused")
    section = page.locator("#idempotency_key_reused")
    await expect(section).to_be_in_viewport()
    await expect(section).to_contain_text("What to do")
    await page.screenshot(path=tmp_path / "problems.png")
    assert browser.elsewhere == []
    assert browser.complaints == []
