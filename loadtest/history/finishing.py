"""The final reads of operations and checkouts: each that was acknowledged is followed to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from loadtest.checker.asked import FROZEN_STATUSES
from loadtest.checker.operation_checks import REUSED
from loadtest.history.asked import SentCheckout, SentOperation
from loadtest.history.client import AT_REST, Clients, Ended
from loadtest.history.living import Living

READERS = 16
PAUSE_S = 0.5
# Of checkouts this many are sent once more; of operations all that were acknowledged are.
CHECKOUTS_MAX = 1_000

_NOT_FOUND = 404


async def finish_living(clients: Clients, living: Living, until_s: float) -> list[str]:
    """Repeat what was acknowledged until its answer is frozen, and read what checkouts came to.

    What never was acknowledged is not sent again: that might begin it. Returns what was not told in time.
    """
    unread: list[str] = []

    async def read(what: str, ask: Callable[[], Awaitable[bool]]) -> None:
        while not await ask():
            if time.monotonic() >= until_s:
                unread.append(what)
                return
            await asyncio.sleep(PAUSE_S)

    works = [
        partial(read, _name(operation), partial(_has_ended, clients, operation))
        for operation in living.accepted
    ]
    checkouts = list(living.checkouts.values())
    works += [
        partial(read, _name(checkout), partial(_is_at_rest, clients, checkout))
        for checkout in checkouts
    ]
    await _few_at_once(works)
    accepted = [each for each in checkouts if each.fingerprint in living.accepted_checkouts]
    await _few_at_once(partial(clients.check_out, each) for each in accepted[:CHECKOUTS_MAX])
    return unread


async def _few_at_once(works: Iterable[Callable[[], Awaitable[object]]]) -> None:
    todo = list(works)

    async def do_next() -> None:
        while todo:
            await todo.pop()()

    await asyncio.gather(*(do_next() for _ in range(READERS)))


async def _has_ended(clients: Clients, operation: SentOperation) -> bool:
    ended = await clients.operate(operation)
    if ended.document.get("code") == REUSED:
        # It was accepted while the books could not be asked for its key, which another one had taken.
        return True
    return ended.is_ok and ended.status in FROZEN_STATUSES


async def _is_at_rest(clients: Clients, checkout: SentCheckout) -> bool:
    """Whether each of its orders has ended, or is not there: then a gateway died, or it was refused."""
    reads = [clients.get(checkout.storefront, order.key) for order in checkout.orders]
    return all(map(_is_told, await asyncio.gather(*reads)))


def _is_told(ended: Ended) -> bool:
    return ended.status == _NOT_FOUND or ended.payment_status in AT_REST


def _name(asked: SentOperation | SentCheckout) -> str:
    storefront = asked.storefront
    kind = asked.kind if isinstance(asked, SentOperation) else "checkout"
    return "|".join((storefront.merchant, storefront.mode, kind, asked.key))
