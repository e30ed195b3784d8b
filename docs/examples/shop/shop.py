"""A shop that sells the goods of two sellers through Tallystick, by its Python client.

    TALLYSTICK_API_KEY=sk_test_… python shop.py --api http://127.0.0.1:8080 --port 8200

Three things to copy. Every id follows from the cart, so a second click, a reload and a retry are the very same
request. What the browser says is never believed: whether a sale is paid, Tallystick tells. And what is open is
looked after until it has ended, also when its buyer closed the browser after paying: a webhook tells its end
(``receiver.py``), and should none come, the shop asks.

Sales are kept in memory here; a real shop keeps them in its database, before it asks for money.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from uuid import UUID, uuid4

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from receiver import Receiver
from sales import GOODS, Sale

from tallystick import ApiError, AsyncTallystick, Event, RetryPolicy, TallystickError
from tallystick.problems import SellerExists
from tallystick.records import Failure

HERE = Path(__file__).parent
QUANTITY_MAX = 9
SALES_MAX = 10_000
# How long the first answer waits for the payment page's address.
PAGE_S_MAX = 10
# Webhooks tell sooner; so much later the shop knows without them.
LOOK_EVERY_S = 15.0
# A look that a webhook asks for ends before the webhook's time (15 s) is over.
LOOK_S_MAX = 10.0

WORDS = {
    "created": "not started",
    "processing": "under way",
    "requires_action": "waits for you",
    "succeeded": "paid",
    "failed": "declined",
    "do_not_honor": "your bank said no",
}
"""What buyers read, where it is not the API's own word."""

log = logging.getLogger("shop")


class Shop:
    """The pages, and what is sold."""

    def __init__(self, client: AsyncTallystick, own_url: str, *, look_every_s: float) -> None:
        self._client = client
        self._quick = client.with_policy(RetryPolicy(deadline_s=LOOK_S_MAX))
        self._own_url = own_url
        self._look_every_s = look_every_s
        self._receiver = Receiver(client, f"{own_url}/webhooks", self._hear)
        self._sales: dict[UUID, Sale] = {}
        self._sales_by_order: dict[str, Sale] = {}
        self._page = Environment(
            loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined
        ).get_template("page.html")

    def application(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/", self._show_goods),
                web.post("/buy", self._buy),
                web.get("/sales/{cart}", self._show_sale),
                web.post("/webhooks", self._receiver.receive),
                web.static("/static", HERE / "static"),
            ]
        )
        app.cleanup_ctx.append(self._run)
        return app

    async def _run(self, _app: web.Application) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._receiver.register()), asyncio.create_task(self._watch())]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    async def _show_goods(self, request: web.Request) -> web.Response:
        """A new cart each time, with what could not be paid before."""
        wanted = {name: _count(request.query.get(name, "1")) for name in GOODS}
        return self._html(cart=uuid4(), wanted=wanted)

    async def _buy(self, request: web.Request) -> web.Response:
        form = await request.post()
        cart = _uuid(form.get("cart"))
        quantities = {name: _count(form.get(name)) for name in GOODS}
        wanted = {name: count for name, count in quantities.items() if count}
        if cart is None or not wanted:
            raise web.HTTPSeeOther("/")
        if cart not in self._sales:
            if len(self._sales) >= SALES_MAX:
                raise web.HTTPServiceUnavailable
            # Kept before anything is asked for; a second click finds it, and changes nothing.
            self._keep(Sale(cart, wanted))
        sale = self._sales[cart]
        await self._pay(sale)
        page = None if sale.checkout is None else sale.checkout.redirect_url
        raise web.HTTPSeeOther(page or self._path(sale))

    async def _show_sale(self, request: web.Request) -> web.Response:
        """Where the buyer comes back to. Whether anything is paid, Tallystick tells."""
        cart = _uuid(request.match_info["cart"])
        sale = None if cart is None else self._sales.get(cart)
        if sale is None:
            raise web.HTTPNotFound
        await self._look(sale, "its page")
        # Only what is said while nothing is known hangs on the address.
        return self._html(cart=sale.cart, sale=sale, came_back="from" in request.query)

    def _keep(self, sale: Sale) -> None:
        self._sales[sale.cart] = sale
        for order in sale.orders:
            self._sales_by_order[order["id"]] = sale

    async def _pay(self, sale: Sale) -> None:
        """Have the sale's orders paid on a page of the provider. Repeated, it changes nothing."""
        back = self._own_url + self._path(sale)
        async with sale.turn:
            try:
                await self._add_sellers(sale)
                sale.checkout = await self._client.checkouts.create(
                    orders=sale.orders,
                    hosted={
                        "success_url": f"{back}?from=success",
                        "cancel_url": f"{back}?from=cancel",
                    },
                    metadata={"cart": str(sale.cart)},
                    idempotency_key=sale.key,
                    wait_s=PAGE_S_MAX,
                )
                sale.problem = ""
            except TallystickError as error:
                sale.problem = _words_for(error)

    async def _add_sellers(self, sale: Sale) -> None:
        for name in sale.quantities:
            good = GOODS[name]
            with contextlib.suppress(SellerExists):
                await self._client.sellers.create(id=good.seller, name=good.seller_name)

    async def _look(self, sale: Sale, seen_by: str) -> bool:
        """Ask how an open sale stands. Return whether that is known now."""
        async with sale.turn:
            if sale.checkout is None or not sale.is_open:
                return True
            try:
                sale.checkout = await self._quick.checkouts.retrieve(sale.checkout.id)
            except TallystickError as error:
                sale.problem = _words_for(error)
                return False
            sale.problem = ""
            if not sale.is_open:
                log.info("sale %s is %s, seen by %s", sale.cart, sale.checkout.status, seen_by)
            return True

    async def _hear(self, event: Event) -> bool:
        """A webhook that was verified: an order has ended. How its sale stands as a whole is asked for."""
        sale = self._sales_by_order.get(event.object_id)
        # None: of another shop with the same key, or sold before this one began.
        return sale is None or await self._look(sale, f"webhook {event.type}")

    async def _watch(self) -> None:
        """Look after what is open, should no webhook come."""
        while True:
            await asyncio.sleep(self._look_every_s)
            for sale in [sale for sale in self._sales.values() if sale.is_open]:
                await self._look(sale, "the watch")

    def _path(self, sale: Sale) -> str:
        return f"/sales/{sale.cart}"

    def _html(
        self,
        *,
        cart: UUID,
        wanted: Mapping[str, int] | None = None,
        sale: Sale | None = None,
        came_back: bool = False,
    ) -> web.Response:
        text = self._page.render(
            goods=GOODS,
            sellers={good.seller: good.seller_name for good in GOODS.values()},
            cart=cart,
            wanted=wanted,
            sale=sale,
            came_back=came_back,
            words=WORDS,
            reason=_reason,
            money=_money,
            quantity_max=QUANTITY_MAX,
        )
        headers = {
            # Forms lead on to the provider's page, wherever that is.
            "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'",
            "Cache-Control": "no-store",
        }
        return web.Response(text=text, content_type="text/html", headers=headers)


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(str(text))
    except ValueError:
        return None


def _count(text: object) -> int:
    return int(text) if isinstance(text, str) and text in "0123456789" and text else 0


def _words_for(error: TallystickError) -> str:
    if isinstance(error, ApiError) and not error.is_retryable:
        return error.detail
    return "The payment service can't be reached. Nothing is lost: try again."


def _reason(failure: Failure) -> str:
    code = failure.decline_code or failure.code
    return WORDS.get(code, code.replace("_", " "))


def _money(amount_minor: int) -> str:
    return f"{amount_minor // 100:,}.{amount_minor % 100:02}"


def main() -> None:
    parser = argparse.ArgumentParser(description="A shop that sells through Tallystick.")
    parser.add_argument("--api", default="http://127.0.0.1:8080", help="where Tallystick listens")
    parser.add_argument("--port", type=int, default=8200)
    parser.add_argument("--own-url", default="", help="where buyers and webhooks find this shop")
    parser.add_argument("--look-every-s", type=float, default=LOOK_EVERY_S, help="without webhooks")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    own_url = arguments.own_url or f"http://127.0.0.1:{arguments.port}"
    client = AsyncTallystick(arguments.api, os.environ["TALLYSTICK_API_KEY"])
    shop = Shop(client, own_url, look_every_s=arguments.look_every_s)
    web.run_app(shop.application(), host="127.0.0.1", port=arguments.port, access_log=None)


if __name__ == "__main__":
    main()
