"""A shop that sells the goods of two sellers through Tallystick, by its HTTP API alone.

    TALLYSTICK_KEY=sk_test_… python shop.py --api http://127.0.0.1:8080 --port 8200

Three things to copy. Every id follows from the cart, so a second click, a reload and a retry are the very same
request. What the browser says is never believed: whether a sale is paid, the API tells. And what is open is
looked after until it has ended, also when its buyer closed the browser after paying.

Sales are kept in memory here; a real shop keeps them in its database, before it asks for money.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import aiohttp
from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent
CURRENCY = "USD"
# Ids of ours are derived from the cart's under this name. Changing it would sell every open cart anew.
NAMESPACE = UUID("3d6f2c1e-8a54-4c1b-9a0e-6b1f4f6f9d20")

QUANTITY_MAX = 9
TRIES_MAX = 6
ANSWER_S_MAX = 40.0
LOOK_EVERY_S = 1.0
SALES_MAX = 10_000


@dataclass(frozen=True)
class Good:
    """Something to buy, and whose it is."""

    name: str
    seller: str
    seller_name: str
    price_minor: int
    about: str


GOODS = {
    "boots": Good(
        "Walking boots", "slr_boots", "Northfoot", 8_900, "Oiled leather, made to be resoled"
    ),
    "socks": Good("Wool socks", "slr_socks", "Merino House", 1_450, "Merino, dries overnight"),
}

WORDS = {
    "created": "not started",
    "processing": "under way",
    "requires_action": "waits for you",
    "succeeded": "paid",
    "failed": "declined",
}
"""What buyers read, where it is not the API's own word."""


@dataclass
class Sale:
    """One cart that somebody wants to pay."""

    cart: UUID
    quantities: Mapping[str, int]
    checkout: dict[str, Any] = field(default_factory=dict)
    """As the API told it last; empty before its first answer."""
    problem: str = ""

    @property
    def is_open(self) -> bool:
        return self.checkout.get("status") in ("processing", "requires_action")

    @property
    def orders(self) -> list[dict[str, Any]]:
        """One order a seller; its id follows from the cart."""
        return [
            {
                "id": str(uuid5(NAMESPACE, f"{self.cart} {name}")),
                "seller": GOODS[name].seller,
                "amount": GOODS[name].price_minor * count,
                "currency": CURRENCY,
                "description": f"{count} × {GOODS[name].name}",
            }
            for name, count in self.quantities.items()
        ]


class Refused(Exception):
    """The API said no, and would say so again."""


class Api:
    """What of Tallystick's API the shop uses."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def create_seller(self, seller: str, name: str) -> None:
        """Make sure that a seller is there."""
        await self._ask("POST", "/v1/sellers", {"id": seller, "name": name}, allowed=(409,))

    async def create_checkout(self, sale: Sale, back: str) -> dict[str, Any]:
        """Have the sale's orders paid on a page of the provider."""
        body = {
            "orders": sale.orders,
            "hosted": {"success_url": f"{back}?from=success", "cancel_url": f"{back}?from=cancel"},
            "metadata": {"cart": str(sale.cart)},
        }
        key = uuid5(NAMESPACE, f"{sale.cart} checkout")
        headers = {"Idempotency-Key": str(key), "Prefer": "wait=10"}
        return await self._ask("POST", "/v1/checkouts", body, headers=headers)

    async def checkout(self, checkout_id: str) -> dict[str, Any]:
        """How a checkout stands."""
        return await self._ask("GET", f"/v1/checkouts/{checkout_id}")

    async def _ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        allowed: tuple[int, ...] = (),
    ) -> dict[str, Any]:
        """Ask until there is an answer: the same request under the same key never charges twice."""
        if self._session is None:
            raise RuntimeError("not open")
        for tries_left in reversed(range(TRIES_MAX)):
            try:
                async with self._session.request(
                    method, self._url + path, json=body, headers=headers
                ) as response:
                    answer: dict[str, Any] = await response.json(content_type=None)
                    if response.status < 400 or response.status in allowed:
                        return answer
                    if not answer.get("retryable"):
                        raise Refused(answer.get("detail", ""))
                    wait_s = float(response.headers.get("Retry-After", "1"))
            except (aiohttp.ClientError, TimeoutError, ValueError):
                wait_s = 0.5
            if tries_left:
                await asyncio.sleep(wait_s)
        raise Refused("The payment service can't be reached. Nothing is lost: try again.")


class Shop:
    """The pages, and what is sold."""

    def __init__(self, api: Api, own_url: str) -> None:
        self._api = api
        self._own_url = own_url
        self._sales: dict[UUID, Sale] = {}
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
                web.static("/static", HERE / "static"),
            ]
        )
        app.cleanup_ctx.append(self._run)
        return app

    async def _run(self, _app: web.Application) -> AsyncIterator[None]:
        await self._api.open()
        watching = asyncio.create_task(self._watch())
        yield
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await self._api.close()

    async def _show_goods(self, _request: web.Request) -> web.Response:
        return self._html(cart=uuid4(), sale=None)

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
            self._sales[cart] = Sale(cart, wanted)
        sale = self._sales[cart]
        await self._pay(sale)
        raise web.HTTPSeeOther(sale.checkout.get("redirect_url") or self._path(sale))

    async def _show_sale(self, request: web.Request) -> web.Response:
        """Where the buyer comes back to. Whether anything is paid, the API is asked."""
        cart = _uuid(request.match_info["cart"])
        sale = None if cart is None else self._sales.get(cart)
        if sale is None:
            raise web.HTTPNotFound
        await self._look(sale)
        # Only what is said while nothing is known hangs on the address.
        return self._html(cart=sale.cart, sale=sale, came_back="from" in request.query)

    async def _pay(self, sale: Sale) -> None:
        try:
            for name in sale.quantities:
                await self._api.create_seller(GOODS[name].seller, GOODS[name].seller_name)
            back = self._own_url + self._path(sale)
            sale.checkout, sale.problem = await self._api.create_checkout(sale, back), ""
        except Refused as refused:
            sale.problem = str(refused)

    async def _look(self, sale: Sale) -> None:
        if not sale.is_open:
            return
        try:
            sale.checkout = await self._api.checkout(sale.checkout["id"])
        except Refused as refused:
            sale.problem = str(refused)

    async def _watch(self) -> None:
        """Look after what is open: its buyer may never come back."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for sale in [sale for sale in self._sales.values() if sale.is_open]:
                await self._look(sale)

    def _path(self, sale: Sale) -> str:
        return f"/sales/{sale.cart}"

    def _html(self, *, cart: UUID, sale: Sale | None, came_back: bool = False) -> web.Response:
        text = self._page.render(
            goods=GOODS,
            sellers={good.seller: good.seller_name for good in GOODS.values()},
            cart=cart,
            sale=sale,
            came_back=came_back,
            words=WORDS,
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


def _money(amount_minor: int) -> str:
    return f"{amount_minor // 100:,}.{amount_minor % 100:02}"


def main() -> None:
    parser = argparse.ArgumentParser(description="A shop that sells through Tallystick.")
    parser.add_argument("--api", default="http://127.0.0.1:8080", help="where Tallystick listens")
    parser.add_argument("--port", type=int, default=8200)
    parser.add_argument("--own-url", default="", help="where buyers find this shop")
    arguments = parser.parse_args()
    own_url = arguments.own_url or f"http://127.0.0.1:{arguments.port}"
    shop = Shop(Api(arguments.api, os.environ["TALLYSTICK_KEY"]), own_url)
    web.run_app(shop.application(), host="127.0.0.1", port=arguments.port)


if __name__ == "__main__":
    main()
