"""What storefronts do with payments after they were answered, and with checkouts of several orders.

Their payments credit one seller of each storefront, so that what the other wallets hold only ever rises.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from loadtest.checker.records import OpKind
from loadtest.history.asked import AskedDrawing, SentCheckout, SentOperation
from loadtest.history.client import AT_REST, Clients, Ended
from loadtest.history.orders import OrderDrawing, SentOrder
from loadtest.history.patience import Patience

TWIN_SHARE = 0.2
RIVAL_SHARE = 0.15
AGAIN_SHARE = 0.3
POLLED_SHARE = 0.4
TWINS_MAX = 3
HELD_S = 3
# Operations and checkouts that later actions come back to.
REMEMBERED_MAX = 2_000


class Living:
    """The operations and checkouts of one load, and the actions that make them."""

    def __init__(
        self,
        clients: Clients,
        draw: random.Random,
        patience: Patience,
        orders: OrderDrawing,
        drawing: AskedDrawing,
        remember: Callable[[SentOrder], SentOrder],
    ) -> None:
        """``remember`` keeps a payment for the final reads."""
        self._clients = clients
        self._draw = draw
        self._patience = patience
        self._orders = orders
        self._drawing = drawing
        self._remember = remember
        self._recent: deque[SentOperation | SentCheckout] = deque(maxlen=REMEMBERED_MAX)
        self.accepted: set[SentOperation] = set()
        """What was acknowledged: each has one end, which the final reads look for."""
        self.checkouts: dict[str, SentCheckout] = {}
        """The checkouts that were sent, by key and fingerprint."""
        self.accepted_checkouts: set[str] = set()

    async def captures(self) -> None:
        """A payment that is held, captured whole, in parts, or by more than there is."""
        order = await self._payment("manual")
        whole, part = order.amount_minor, order.amount_minor // 3
        wanted: tuple[int | None, ...] = self._draw.choice(
            (
                (None,),
                (part,),
                (part, part, whole - 2 * part),
                (part, None),
                (whole, whole),
                (whole + 1,),
            )
        )
        await self._all(order, [(OpKind.CAPTURE, amount_minor) for amount_minor in wanted])

    async def voids(self) -> None:
        """A payment that is held, and given back; now and then a capture comes at the same time."""
        order = await self._payment("manual")
        wanted: list[tuple[OpKind, int | None]] = [(OpKind.VOID, None)]
        if self._draw.random() < 0.3:
            wanted.append((OpKind.CAPTURE, order.amount_minor // 2))
        await self._all(order, wanted)

    async def refunds(self) -> None:
        """A payment that is paid, given back whole, in parts, several at once, or by more than there is."""
        order = await self._payment("automatic" if self._draw.random() < 0.7 else "manual")
        if order.members["capture"] == "manual":
            await self._operate(self._drawing.operation(order, OpKind.CAPTURE, None))
        whole, part = order.amount_minor, order.amount_minor // 3
        wanted: tuple[int | None, ...] = self._draw.choice(
            (
                (None,),
                (part,),
                (part, part, part),
                (2 * part, 2 * part),
                (whole, whole),
                (None, None),
                (whole + 1,),
            )
        )
        await self._all(order, [(OpKind.REFUND, amount_minor) for amount_minor in wanted])
        if self._draw.random() < POLLED_SHARE:
            await self._clients.refunds(order.storefront, order.key)

    async def check_out(self) -> None:
        """Some orders at once; sent again, at once as well, and with other orders under the same key."""
        checkout = self._drawing.checkout()
        self._recent.append(checkout)
        at_once = [checkout]
        if self._draw.random() < TWIN_SHARE:
            at_once += [checkout] * self._draw.randint(1, TWINS_MAX - 1)
        if self._draw.random() < RIVAL_SHARE:
            at_once.append(self._drawing.other_checkout(checkout))
        await asyncio.gather(*map(self._check_out, at_once))
        if self._draw.random() < POLLED_SHARE:
            await self._patience.poll(
                partial(self._clients.checkout, checkout),
                lambda ended: ended.document.get("status") not in ("processing", None),
            )

    async def again(self) -> None:
        """Something of before once more, or another request under its key."""
        if not self._recent:
            return
        asked = self._draw.choice(self._recent)
        is_other = self._draw.random() < 0.3
        if isinstance(asked, SentCheckout):
            other = self._drawing.other_checkout(asked) if is_other else asked
            await self._check_out(other)
        else:
            await self._operate_once((self._other(asked) if is_other else None) or asked)

    # --- parts of it --------------------------------------------------------------------------------

    async def _payment(self, capture: str) -> SentOrder:
        """Make a payment, and wait for its answer: what comes before that is refused, and not kept."""
        order = self._remember(self._orders.living(capture))
        post = partial(self._clients.post, order, wait_s=HELD_S)
        ended = await self._patience.insist(post)
        if ended.payment_status not in AT_REST:
            read = partial(self._clients.get, order.storefront, order.key)
            await self._patience.poll(read, lambda found: found.payment_status in AT_REST)
        return order

    async def _all(self, order: SentOrder, wanted: Sequence[tuple[OpKind, int | None]]) -> None:
        operations = [self._drawing.operation(order, kind, amount) for kind, amount in wanted]
        await asyncio.gather(*map(self._operate, operations))
        if self._draw.random() < POLLED_SHARE:
            await self._clients.get(order.storefront, order.key)

    async def _operate(self, operation: SentOperation) -> None:
        """Ask for an operation as clients do: often once, sometimes several times, or in two ways, at once."""
        self._recent.append(operation)
        at_once = [operation]
        if self._draw.random() < TWIN_SHARE:
            at_once += [operation] * self._draw.randint(1, TWINS_MAX - 1)
        if self._draw.random() < RIVAL_SHARE and (rival := self._other(operation)) is not None:
            at_once.append(rival)
        ended, *_ = await asyncio.gather(*map(self._operate_once, at_once))
        if self._draw.random() < AGAIN_SHARE:
            await self._operate_once(operation)
        refund_id = ended.shown(operation.kind).get("id")
        if operation.kind is OpKind.REFUND and refund_id and self._draw.random() < POLLED_SHARE:
            await self._patience.poll(
                partial(self._clients.refund, operation.storefront, str(refund_id)),
                lambda found: found.document.get("status") in AT_REST,
            )

    async def _operate_once(self, operation: SentOperation) -> Ended:
        wait_s = HELD_S if self._draw.random() < 0.5 else 0
        ended = await self._patience.insist(partial(self._clients.operate, operation, wait_s))
        if ended.is_ok:
            self.accepted.add(operation)
        return ended

    async def _check_out(self, checkout: SentCheckout) -> None:
        self.checkouts[checkout.fingerprint] = checkout
        wait_s = HELD_S if self._draw.random() < 0.5 else 0
        ended = await self._patience.insist(partial(self._clients.check_out, checkout, wait_s))
        if ended.is_ok:
            self.accepted_checkouts.add(checkout.fingerprint)

    def _other(self, operation: SentOperation) -> SentOperation | None:
        """Another request under its key; now and then of another kind, which is another operation."""
        if operation.kind is OpKind.REFUND and self._draw.random() < 0.2:
            return self._drawing.as_capture(operation)
        return self._drawing.other_operation(operation)
