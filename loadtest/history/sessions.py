"""What storefronts do: each action as a good client does it, with bounded patience."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from loadtest.checker.records import ClientKey, EventType
from loadtest.history.asked import AskedDrawing
from loadtest.history.client import TERMINAL, Clients, Ended
from loadtest.history.living import Living
from loadtest.history.orders import OrderDrawing, SentOrder
from loadtest.history.patience import Patience
from loadtest.history.plan import Action, LoadPlan

# Orders that later actions come back to: some from just now, some from minutes ago.
REMEMBERED_MAX = 5_000
POLLED_SHARE = 0.3
AT_ONCE_SHARE = 0.4
HELD_SHARE = 0.25
HELD_S = 3
TWINS_MAX = 5


class Sessions:
    """The storefronts of one load, and the orders that they have sent."""

    def __init__(
        self, plan: LoadPlan, clients: Clients, draw: random.Random, stop: asyncio.Event
    ) -> None:
        self._plan = plan
        self._clients = clients
        self._draw = draw
        self._orders = OrderDrawing(plan, draw)
        self._patience = Patience(plan.tries_max, draw, stop)
        self._recent: deque[SentOrder] = deque(maxlen=REMEMBERED_MAX)
        self.sent: dict[ClientKey, SentOrder] = {}
        """The first order sent under each key, for the final reads; of all keys ever used."""
        self.living = Living(
            clients,
            draw,
            self._patience,
            self._orders,
            AskedDrawing(plan, draw, self._orders),
            self._remember,
        )
        self._actions: Mapping[Action, Callable[[], Awaitable[None]]] = {
            Action.CREATE: self._create,
            Action.TWINS: self._twins,
            Action.RIVALS: self._rivals,
            Action.DUPLICATE: self._duplicate,
            Action.CONFLICT: self._conflict,
            Action.NEIGHBOUR: self._neighbour,
            Action.READ: self._read,
            Action.WALLET: self._wallet,
            Action.LIST: self._list,
            Action.CARD_NUMBER: self._card_number,
            Action.CAPTURES: self.living.captures,
            Action.VOIDS: self.living.voids,
            Action.REFUNDS: self.living.refunds,
            Action.CHECKOUTS: self.living.check_out,
            Action.AGAIN: self.living.again,
        }
        self._names = list(plan.action_weights)
        self._weights = list(plan.action_weights.values())

    async def act(self) -> None:
        """Do one action, drawn by the plan's shares."""
        await self._actions[self._draw.choices(self._names, self._weights)[0]]()

    async def _create(self) -> None:
        order = self._remember(self._orders.new())
        ended = await self._insist(order)
        if ended.payment_status in TERMINAL and self._draw.random() < AT_ONCE_SHARE:
            # What was just told has to be true the next moment, whoever is asked.
            await asyncio.gather(
                self._clients.post(order),
                self._clients.get(order.storefront, order.key),
                self._clients.wallet(order.storefront, order.seller),
            )
        elif self._draw.random() < POLLED_SHARE:
            await self._poll(order)

    async def _insist(self, order: SentOrder) -> Ended:
        """Send an order until it is answered for certain, a bounded number of times."""
        return await self._patience.insist(partial(self._post, order))

    async def _poll(self, order: SentOrder) -> None:
        read = partial(self._clients.get, order.storefront, order.key)
        await self._patience.poll(read, lambda ended: ended.payment_status in TERMINAL)

    async def _twins(self) -> None:
        order = self._remember(self._orders.new())
        count = self._draw.randint(2, TWINS_MAX)
        await asyncio.gather(*(self._post(order) for _ in range(count)))

    async def _rivals(self) -> None:
        order = self._remember(self._orders.new())
        rival = self._orders.other(order)
        await asyncio.gather(self._post(order), self._post(rival))

    async def _duplicate(self) -> None:
        if (order := self._remembered()) is not None:
            await self._post(order)

    async def _conflict(self) -> None:
        if (order := self._remembered()) is not None:
            await self._post(self._orders.other(order))

    async def _neighbour(self) -> None:
        if (order := self._remembered()) is None:
            return
        others = [each for each in self._plan.storefronts if each != order.storefront]
        await self._insist(
            self._remember(self._orders.new(self._draw.choice(others), key=order.key))
        )

    async def _read(self) -> None:
        if (order := self._remembered()) is not None:
            await self._clients.get(order.storefront, order.key)

    async def _wallet(self) -> None:
        storefront = self._draw.choice(self._plan.storefronts)
        owner = self._draw.choice((storefront.merchant, *storefront.sellers))
        await self._clients.wallet(storefront, owner)

    async def _list(self) -> None:
        await self._clients.newest(self._draw.choice(self._plan.storefronts))

    async def _card_number(self) -> None:
        order = self._orders.with_card_number()
        ended = await self._clients.post(order)
        if ended.type is not EventType.FAIL:
            # It may have been taken in, which the final reads have to show.
            self._remember(order)

    async def _post(self, order: SentOrder) -> Ended:
        is_shuffled = self._draw.random() < 0.3
        wait_s = HELD_S if self._draw.random() < HELD_SHARE else 0
        return await self._clients.post(order, is_shuffled=is_shuffled, wait_s=wait_s)

    def _remember(self, order: SentOrder) -> SentOrder:
        storefront = order.storefront
        name = (storefront.merchant, storefront.mode, order.key)
        if name not in self.sent:
            self.sent[name] = order
            self._recent.append(order)
        return order

    def _remembered(self) -> SentOrder | None:
        """Return an order of before: often one of the last, whose answer may not have come yet."""
        if not self._recent:
            return None
        if self._draw.random() < 0.5:
            return self._recent[-1 - self._draw.randrange(min(20, len(self._recent)))]
        return self._draw.choice(self._recent)
