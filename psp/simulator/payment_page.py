"""The payment page: a buyer enters a card at the PSP, which charges the orders that the page shows.

It trusts nothing that a browser says but the card: what is to be paid, and where the buyer goes afterwards,
was registered by the merchant's processor. Each step is judged by how the charges stand, so a second click,
a way back and a page opened twice find what was done, and nothing is charged twice. Card numbers are looked
at and dropped (``psp.simulator.cards``).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib import resources
from typing import NamedTuple
from weakref import WeakValueDictionary

from aiohttp import web
from jinja2 import Environment

from psp.simulator.cards import CARDS, DECLINES, CardForm, Fate
from psp.simulator.charges import Charge
from psp.simulator.page_memory import PageMemory, PageName, Told
from psp.simulator.page_terms import HostedTerms
from psp.simulator.replies import NOT_FOUND
from psp.simulator.sandbox import Sandbox
from psp.simulator.wire import NOT_CONFIRMED, ChargeStatus

TRIES_MAX = 3
"""Cards that a buyer may try on one page; the last one that is declined ends its charges."""

FIELD_CHARACTERS_MAX = 64
"""What is looked at of one field of the form."""

_STYLE = resources.files("psp.simulator").joinpath("templates", "pay.css").read_text("utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_PAID = frozenset({ChargeStatus.CAPTURED, ChargeStatus.AUTHORIZED})
_WORDS = {ChargeStatus.CAPTURED: "paid", ChargeStatus.AUTHORIZED: "reserved"}
_DECLINED = "The payment was declined. Nothing was charged for it."
_BUSY = "The payment can't be taken right now. Nothing was charged; try again."
_ASK_AGAIN = "Enter the card once more."


class Page(NamedTuple):
    """One page as a request finds it."""

    reference: str
    charge: Charge
    terms: HostedTerms
    together: Sequence[Charge]
    """All charges of the page, in their order."""

    @property
    def name(self) -> PageName:
        """What is the same for every charge of the page."""
        return self.charge.merchant, self.terms.session

    @property
    def waiting(self) -> list[Charge]:
        """The charges that nothing has become of yet."""
        return [each for each in self.together if each.status is ChargeStatus.REQUIRES_ACTION]

    @property
    def path(self) -> str:
        return f"/pay/{self.reference}"

    @property
    def done_path(self) -> str:
        """Where a form that is done with leads: from there the buyer goes on to ``back_url``."""
        return f"/pay/{self.reference}/done"

    @property
    def back_url(self) -> str:
        """Where the buyer goes now that it is over."""
        is_paid = any(each.status in _PAID for each in self.together)
        return self.terms.success_url if is_paid else self.terms.cancel_url


class PaymentPages:
    """The handlers of the page's routes."""

    def __init__(
        self,
        sandbox: Sandbox,
        templates: Environment,
        *,
        name: str,
        now: Callable[[], datetime],
    ) -> None:
        self._sandbox = sandbox
        self._templates = templates
        self._name = name
        self._now = now
        self._memory = PageMemory()
        # One answer at a time for each page: a second click waits for the first, and finds its outcome.
        self._turns: WeakValueDictionary[PageName, asyncio.Lock] = WeakValueDictionary()

    def routes(self) -> list[web.RouteDef]:
        """Return the page's routes."""
        return [
            web.get("/pay/{reference}", self._show),
            web.post("/pay/{reference}", self._pay),
            web.get("/pay/{reference}/verify", self._ask),
            web.post("/pay/{reference}/verify", self._answer),
            web.post("/pay/{reference}/cancel", self._cancel),
            web.get("/pay/{reference}/done", self._leave),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        page = self._page(request)
        return self._form(page) if page.waiting else self._over(page)

    async def _leave(self, request: web.Request) -> web.Response:
        """Send the buyer back. Not by a redirect of the form's answer: those the policy keeps on this page."""
        page = self._page(request)
        if page.waiting:
            raise web.HTTPSeeOther(page.path)
        return self._over(page, leaves=True)

    async def _pay(self, request: web.Request) -> web.Response:
        form = await request.post()
        page = self._page(request)
        async with self._turn(page):
            if not page.waiting:
                raise web.HTTPSeeOther(page.done_path)
            tries = str(self._memory.tries.get(page.name) or 0)
            if form.get("tries", tries) != tries:
                # A second click, or a page of before: this card was declined already, or another one since.
                raise web.HTTPSeeOther(page.path)
            self._memory.told.take(page.name)
            card = CardForm(*(_text(form.get(name)) for name in ("number", "expiry", "code")))
            today = self._now()
            problems = card.problems(year=today.year, month=today.month)
            fate = card.fate()
            if problems or fate is None:
                raise self._telling(page, Told("Please correct what is marked below.", problems))
            if fate.is_challenged:
                self._memory.asked.put(page.name, fate)
                raise web.HTTPSeeOther(f"{page.path}/verify")
            raise await self._charged(page, fate)

    async def _ask(self, request: web.Request) -> web.Response:
        page = self._page(request)
        if not page.waiting:
            return self._over(page)
        if page.name not in self._memory.asked:
            raise web.HTTPSeeOther(page.path)
        return self._html("pay_verify.html", page, title="Confirm your payment")

    async def _answer(self, request: web.Request) -> web.Response:
        form = await request.post()
        page = self._page(request)
        async with self._turn(page):
            if not page.waiting:
                raise web.HTTPSeeOther(page.done_path)
            fate = self._memory.asked.take(page.name)
            if fate is None:
                told = self._memory.told.get(page.name)
                raise self._telling(page, told or Told(_ASK_AGAIN))
            if form.get("decision") != "confirm":
                fate = Fate("", decline_code=NOT_CONFIRMED)
            raise await self._charged(page, fate)

    async def _cancel(self, request: web.Request) -> web.Response:
        page = self._page(request)
        async with self._turn(page):
            for charge in page.waiting:
                await self._sandbox.cancel(charge.key)
            if page.waiting:
                raise self._telling(page, Told(_BUSY))
            raise web.HTTPSeeOther(page.done_path)

    async def _charged(self, page: Page, fate: Fate) -> web.HTTPSeeOther:
        """Do to every charge that waits what the card does; a card that pays nothing may be another's turn."""
        declines = {each.key: fate.decline_of(each.amount_minor) for each in page.waiting}
        first_decline = next((code for code in declines.values() if code is not None), None)
        if first_decline is not None and None not in declines.values():
            tries = (self._memory.tries.take(page.name) or 0) + 1
            if tries < TRIES_MAX:
                self._memory.tries.put(page.name, tries)
                left = TRIES_MAX - tries
                again = f"Try another card: {left} {'try' if left == 1 else 'tries'} left."
                return self._telling(page, Told(f"{DECLINES[first_decline]} {again}"))
        for charge in page.waiting:
            code = declines[charge.key]
            await self._sandbox.act(
                self._sandbox.state.reference_of(charge),
                is_approved=code is None,
                decline_code=code,
            )
        if page.waiting:
            # The processor cancels it this very moment, or this PSP refuses everything.
            return self._telling(page, Told(_BUSY))
        is_paid = any(each.status in _PAID for each in page.together)
        return web.HTTPSeeOther(page.done_path if is_paid else page.path)

    def _telling(self, page: Page, told: Told) -> web.HTTPSeeOther:
        """Lead to the page, which says so until the next card."""
        self._memory.told.put(page.name, told)
        return web.HTTPSeeOther(page.path)

    def _page(self, request: web.Request) -> Page:
        """Return the page, or end with 404 where its reference names none."""
        reference = request.match_info["reference"]
        state = self._sandbox.state
        charge = state.charge_of_reference(reference)
        terms = None if charge is None else state.pages.of(charge.key)
        if charge is None or terms is None:
            raise web.HTTPNotFound(text=NOT_FOUND.body.message)
        return Page(reference, charge, terms, state.pages.together(charge))

    def _turn(self, page: Page) -> asyncio.Lock:
        return self._turns.setdefault(page.name, asyncio.Lock())

    def _form(self, page: Page) -> web.Response:
        told = self._memory.told.get(page.name) or Told("")
        shown = dict.fromkeys(("number", "expiry", "code"), "") | dict(told.problems)
        return self._html(
            "pay_card.html",
            page,
            title="Pay by card",
            message=told.message,
            problems=shown,
            cards=CARDS,
            tries=self._memory.tries.get(page.name) or 0,
        )

    def _over(self, page: Page, *, leaves: bool = False) -> web.Response:
        states = {each.status for each in page.together}
        is_paid = bool(states & _PAID)
        if is_paid:
            message = "This is paid. Nothing is left to do here."
            if not states <= _PAID:
                message = "A part of this is paid; the rest was not charged."
        elif ChargeStatus.DECLINED in states:
            message = _DECLINED
        else:
            message = "This payment was canceled. Nothing was charged."
        return self._html(
            "pay_over.html",
            page,
            title="Your payment",
            message=message,
            tone="good" if is_paid else "bad",
            back_url=page.back_url,
            leaves=leaves,
        )

    def _html(self, template: str, page: Page, *, title: str, **shown: object) -> web.Response:
        is_open = bool(page.waiting)
        lines = page.waiting if is_open else page.together
        totals: dict[str, int] = {}
        for each in lines:
            totals[each.currency] = totals.get(each.currency, 0) + each.amount_minor
        values = {"message": "", "tone": "bad", "problems": {}, "leaves": False, **shown}
        text = self._templates.get_template(template).render(
            name=self._name.replace("_", " ").title(),
            title=title,
            style=_STYLE,
            reference=page.reference,
            lines=[self._line(each, is_open=is_open) for each in lines],
            totals=totals,
            **values,
        )
        return web.Response(text=text, content_type="text/html", headers=_HEADERS)

    def _line(self, charge: Charge, *, is_open: bool) -> Mapping[str, object]:
        terms = self._sandbox.state.pages.of(charge.key)
        return {
            "text": (terms.description if terms is not None else "") or "Payment",
            "note": "" if is_open else f"({_WORDS.get(charge.status, charge.status.value)})",
            "amount_minor": charge.amount_minor,
            "currency": charge.currency,
        }


def _text(field: object) -> str:
    return field[:FIELD_CHARACTERS_MAX] if isinstance(field, str) else ""
