"""What the shop sells, and what it keeps of each sale."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from tallystick import Checkout

CURRENCY = "USD"
# Ids of ours are derived from the cart's under this name. Changing it would sell every open cart anew.
NAMESPACE = UUID("3d6f2c1e-8a54-4c1b-9a0e-6b1f4f6f9d20")
OPEN = ("processing", "requires_action")


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


@dataclass
class Sale:
    """One cart that somebody wants to pay."""

    cart: UUID
    quantities: Mapping[str, int]
    checkout: Checkout | None = None
    """As Tallystick told it last; None before its first answer."""
    problem: str = ""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Asked for by one at a time: so a late answer never replaces a newer one."""

    @property
    def is_open(self) -> bool:
        return self.checkout is not None and self.checkout.status in OPEN

    @property
    def unpaid(self) -> dict[str, int]:
        """What of it was not paid, for another try: that is another sale, of another cart."""
        orders = () if self.checkout is None else self.checkout.orders
        paid = {order.id for order in orders if order.status == "succeeded"}
        names = zip(self.quantities, self.orders, strict=True)
        left = {name for name, order in names if order["id"] not in paid}
        return {name: self.quantities[name] if name in left else 0 for name in GOODS}

    @property
    def key(self) -> UUID:
        """The idempotency key of its checkout."""
        return uuid5(NAMESPACE, f"{self.cart} checkout")

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
