"""Orders that a load sends: drawn by a seed, with amounts that no two of them share."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from loadtest.checker.derivation import canonical_json, fingerprint
from loadtest.history.plan import CURRENCIES, LoadPlan, Storefront

# Above every minimum of a PSP.
AMOUNT_MINOR_FIRST = 1_000
# As many make a storefront's own orders of several sellers, and those that are given back.
SELLERS_FOR_SPLITS = 4
# A test number of a card brand's documentation, spread by spaces as people write it.
CARD_NUMBER = "4242 4242 4242 4242"
# Personal data, which no log may hold.
BUYER_EMAIL = "canary.of.a.buyer@example.org"


class SentOrder(NamedTuple):
    """A request of ``POST /v1/payments``: who sends which members under which key."""

    storefront: Storefront
    key: str
    members: Mapping[str, object]
    fingerprint: str

    @property
    def amount_minor(self) -> int:
        return int(str(self.members["amount"]))

    @property
    def currency(self) -> str:
        return str(self.members["currency"])

    @property
    def token(self) -> str:
        return str(self.members["payment_method"])

    @property
    def seller(self) -> str:
        """Whose wallet is credited: the storefront's own, where none is named."""
        return str(self.members.get("seller", self.storefront.merchant))

    @property
    def metadata(self) -> str:
        return canonical_json(self.members.get("metadata", {}))

    def body(self, draw: random.Random | None = None) -> bytes:
        """Return the JSON; with ``draw`` its members and white space are another way round."""
        if draw is None:
            return json.dumps(self.members).encode()
        names = list(self.members)
        draw.shuffle(names)
        shuffled = {name: self.members[name] for name in names}
        return json.dumps(shuffled, indent=draw.choice((None, 1, 4))).encode()


class OrderDrawing:
    """Draws orders. Amounts rise by one, so that sums tell which orders are in them."""

    def __init__(self, plan: LoadPlan, draw: random.Random) -> None:
        self._plan = plan
        self._draw = draw
        self._count = 0
        self._tokens = list(plan.token_weights)
        self._weights = list(plan.token_weights.values())

    def new(self, storefront: Storefront | None = None, key: str | None = None) -> SentOrder:
        """Return an order that was not drawn before, under a new key unless one is given."""
        draw = self._draw
        storefront = storefront or draw.choice(self._plan.storefronts)
        self._count += 1
        members: dict[str, object] = {
            "amount": AMOUNT_MINOR_FIRST + self._count,
            "currency": draw.choice(CURRENCIES),
            "payment_method": draw.choices(self._tokens, self._weights)[0],
        }
        if self._plain_sellers(storefront) and draw.random() < 0.8:
            members["seller"] = draw.choice(self._plain_sellers(storefront))
        if draw.random() < 0.5:
            members["metadata"] = {"cart": f"c-{self._count}", "a": "b"}
        if draw.random() < 0.3:
            members["description"] = f"order {self._count}"
        if draw.random() < 0.3:
            members["buyer"] = {"reference": f"b-{self._count}", "email": BUYER_EMAIL}
        key = key or str(UUID(int=draw.getrandbits(128), version=4))
        if draw.random() < self._plan.split_share:
            members = self._shared(members, (storefront.merchant, *self._plain_sellers(storefront)))
        return self._sent(storefront, key, members)

    def living(self, capture: str) -> SentOrder:
        """Return an order that will be captured, voided or refunded, for the sellers kept for these."""
        order = self.new()
        kept = order.storefront.sellers[len(self._plain_sellers(order.storefront)) :]
        members = {**order.members, "capture": capture}
        if order.storefront.sellers:
            members.pop("splits", None)
            members["seller"] = (kept or order.storefront.sellers)[-1]
            if self._draw.random() < 4 * self._plan.split_share:
                members = self._shared(members, kept)
        return self._sent(order.storefront, order.key, members)

    @staticmethod
    def _plain_sellers(storefront: Storefront) -> tuple[str, ...]:
        """Those whose money only ever comes: that of the others, one or two, is given back, too."""
        sellers = storefront.sellers
        return (sellers[:-2] if len(sellers) >= SELLERS_FOR_SPLITS else sellers[:-1]) or sellers

    def _shared(self, members: Mapping[str, object], sellers: Sequence[str]) -> dict[str, object]:
        """Return the members with parts of all these sellers; as they are, where that is one alone."""
        if len(sellers) < 2:
            return dict(members)
        draw, left_minor = self._draw, int(str(members["amount"]))
        splits: list[dict[str, object]] = []
        for position, seller in enumerate(draw.sample(sellers, len(sellers)), 1):
            behind = len(sellers) - position
            amount_minor = draw.randint(1, left_minor - behind) if behind else left_minor
            left_minor -= amount_minor
            part: dict[str, object] = {"seller": seller, "amount": amount_minor}
            if draw.random() < 0.5:
                part["fee"] = draw.randint(0, min(amount_minor, 50))
            splits.append(part)
        shared = {name: value for name, value in members.items() if name != "seller"}
        return {**shared, "splits": splits}

    def other(self, order: SentOrder) -> SentOrder:
        """Return another order of the same storefront, under the same key."""
        if self._draw.random() < 0.3:
            members = {**order.members, "description": f"another {self._draw.getrandbits(32)}"}
            return self._sent(order.storefront, order.key, members)
        return self.new(order.storefront, order.key)

    def with_card_number(self) -> SentOrder:
        """Return an order that has to be refused."""
        order = self.new()
        members = {**order.members, "description": f"card {CARD_NUMBER}"}
        return self._sent(order.storefront, order.key, members)

    def _sent(self, storefront: Storefront, key: str, members: Mapping[str, object]) -> SentOrder:
        fields = {"seller": storefront.merchant, **members}
        made = fingerprint(fields, self._plan.fingerprint_key)
        return SentOrder(storefront, key, members, made)
