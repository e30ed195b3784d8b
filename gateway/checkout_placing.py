"""Placing a checkout: first its own record, then its orders, each durable before anything is promised.

The record goes first, so that its key is taken before an order is: whoever repeats the request, with other
orders even, meets it. A gateway that dies in between leaves orders that nobody has accepted; the same request
brings them in, and those that are there are known by their ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from gateway.accepting import Accepting
from gateway.finding import Finding
from gateway.idempotency import Verdict, says_the_same
from gateway.open_requests import Decided
from gateway.problems import Code, Problem
from gateway.refusals import UNDECIDED_KEY, reused
from gateway.rendering import moment_of_ms
from gateway.verdicts import refusal
from payments import fingerprint
from payments.checkouts import CHECKOUT_FIELDS, Checkout, CheckoutOrder
from payments.commands import PaymentCommand
from payments.partitioning import partition_index
from runtime.faults import StorageUnavailable
from storage.checkout_envelope import checkout_entry
from storage.checkouts import CheckoutKey, CheckoutQueries
from storage.lookup_keys import OrderLookup
from storage.queue_ports import KeyRecord
from storage.read_ports import PaymentQueries, SellerRecord, StoredOrder

# As long as whoever posts one payment waits for the books; they are asked twice within a request's deadline.
BOOKS_S_MAX = 2.0


class Placed(NamedTuple):
    """A checkout whose record is on every copy promised."""

    checkout: Checkout
    """As it was accepted first."""
    is_replay: bool
    is_deferred: bool
    """Whether the books could not be asked for its key."""


class _Held(NamedTuple):
    """What the books say of a checkout and of its orders' ids; None where they can't be asked."""

    checkout: Checkout | None
    orders: Mapping[UUID, StoredOrder]


class Placing:
    """Appends the records of checkouts, and tells whose key was used before."""

    def __init__(
        self,
        accepting: Accepting,
        finding: Finding,
        queries: PaymentQueries,
        checkouts: CheckoutQueries,
        *,
        is_away: Callable[[], bool],
        partition_count: int,
    ) -> None:
        """``is_away`` tells whether the books count as out of reach: then they are not waited for."""
        self._is_away = is_away
        self._accepting = accepting
        self._finding = finding
        self._queries = queries
        self._checkouts = checkouts
        self._partition_count = partition_count

    async def place(
        self, checkout: Checkout, commands: Sequence[PaymentCommand]
    ) -> Placed | Problem:
        """Take the checkout's key, or say why not. ``commands`` are its orders: none is appended here."""
        key = self.key_of(checkout.checkout_uuid)
        before = await self._held(key, commands)
        if before is not None and before.checkout is not None:
            return _compared(checkout, before.checkout)
        if before is not None:
            taken = await self._taken_id(checkout, before, commands)
            if taken is not None:
                return taken
        decided = await self._accepting.accept_unasked(checkout_entry(checkout, key[0]))
        if decided.verdict not in (Verdict.ACCEPTED_DEFERRED, Verdict.UNDECIDED_KEY):
            return refusal(decided, checkout.fingerprint, CHECKOUT_FIELDS)
        # Once more: an owner may have taken in another body since, which the queue then lost.
        after = await self._held(key, ())
        if after is not None and after.checkout is not None:
            return _compared(checkout, after.checkout)
        return _of_the_queue(checkout, decided, is_deferred=after is None)

    async def find(self, checkout_uuid: UUID) -> Checkout | None:
        """Return a checkout, or None when neither books nor queue know it. Raises StorageUnavailable."""
        key = self.key_of(checkout_uuid)
        async with asyncio.timeout(BOOKS_S_MAX):
            held = await self._checkouts.checkouts([key])
            if (checkout := held.get(checkout_uuid)) is not None:
                return checkout
        record = await self._record(key)
        if record is None:
            return None
        if record.checkout is not None:
            return record.checkout._replace(accepted_at=moment_of_ms(record.accepted_at_ms))
        # Taken in since we asked, most likely.
        checkout = (await self._checkouts.checkouts([key])).get(checkout_uuid)
        if checkout is None:
            raise StorageUnavailable("redis", "the checkout's message can't be read")
        return checkout

    def key_of(self, checkout_uuid: UUID) -> CheckoutKey:
        """Return where a checkout is kept."""
        return partition_index(checkout_uuid, self._partition_count), checkout_uuid

    async def _record(self, key: CheckoutKey) -> KeyRecord | None:
        record = await self._finding.record(OrderLookup(*key))
        if isinstance(record, Problem):
            raise StorageUnavailable("redis", "too many look-ups wait")
        return record

    async def _held(self, key: CheckoutKey, commands: Sequence[PaymentCommand]) -> _Held | None:
        if self._is_away():
            return None
        orders = [
            (partition_index(command.order_uuid, self._partition_count), command.order_uuid)
            for command in commands
        ]
        try:
            async with asyncio.timeout(BOOKS_S_MAX):
                checkouts, held = await asyncio.gather(
                    self._checkouts.checkouts([key]), self._queries.orders(orders)
                )
        except (StorageUnavailable, TimeoutError):
            return None
        return _Held(checkouts.get(key[1]), held)

    async def _taken_id(
        self, checkout: Checkout, held: _Held, commands: Sequence[PaymentCommand]
    ) -> Problem | None:
        """Refuse a new checkout, whole, for an order whose id is another request's already."""
        for position, command in enumerate(commands):
            order = held.orders.get(command.order_uuid)
            if order is None or says_the_same(command.fingerprint, order):
                continue
            try:
                record = await self._record(self.key_of(checkout.checkout_uuid))
            except StorageUnavailable:
                return UNDECIDED_KEY
            if record is not None:
                # Not new: it was accepted before the id was taken, and is told as it stands.
                return None
            return Problem(
                code=Code.ORDER_ID_REUSED,
                detail="This id names another request already. Nothing of the checkout was kept.",
                param=f"$.orders[{position}].id",
                details={"differs": fingerprint.differs(command.fingerprint, order.fingerprint)},
            )
        return None


def _compared(checkout: Checkout, first: Checkout) -> Placed | Problem:
    """Hold a request against what the books have under its key."""
    if not fingerprint.same(checkout.fingerprint, first.fingerprint):
        return reused(fingerprint.differs(checkout.fingerprint, first.fingerprint, CHECKOUT_FIELDS))
    is_replay = first.accepted_at != checkout.accepted_at
    return Placed(first, is_replay=is_replay, is_deferred=False)


def _of_the_queue(checkout: Checkout, decided: Decided, *, is_deferred: bool) -> Placed | Problem:
    """The books hold none, or can't be asked: what the queue says counts."""
    if decided.verdict is Verdict.UNDECIDED_KEY:
        first = decided.first_fingerprint
        if is_deferred or first is None:
            return UNDECIDED_KEY
        return reused(fingerprint.differs(checkout.fingerprint, first, CHECKOUT_FIELDS))
    assert decided.first_accepted_at_ms is not None
    accepted_at = moment_of_ms(decided.first_accepted_at_ms)
    return Placed(
        checkout._replace(accepted_at=accepted_at),
        is_replay=accepted_at != checkout.accepted_at,
        is_deferred=is_deferred,
    )


# An order may be told with its checkout: it is accepted, or was before, or can never be.
_TOLD = frozenset(
    {
        Verdict.ACCEPTED,
        Verdict.ACCEPTED_DEFERRED,
        Verdict.RUNNING,
        Verdict.FROZEN,
        Verdict.REUSED,
    }
)


def not_all_stored(
    verdicts: Sequence[Decided], commands: Sequence[PaymentCommand]
) -> Problem | None:
    """Return the 503 of a checkout of whose orders some may not be on every copy promised."""
    open_ids = [
        str(command.idempotency_key)
        for decided, command in zip(verdicts, commands, strict=True)
        if decided.verdict not in _TOLD
    ]
    if not open_ids:
        return None
    is_full = all(
        decided.verdict is Verdict.BACKPRESSURE or decided.verdict in _TOLD for decided in verdicts
    )
    return Problem(
        code=Code.QUEUE_BACKPRESSURE if is_full else Code.STORE_UNAVAILABLE,
        detail=(
            "Not every order is safely stored yet, and those that are may run. Send the same request"
            " again with the same Idempotency-Key: no order is ever charged twice."
        ),
        details={"may_run": True, "orders_not_stored": open_ids},
    )


def order_of(command: PaymentCommand, seller: SellerRecord) -> CheckoutOrder:
    """Return one order of a checkout, from what it is to be run as."""
    return CheckoutOrder(
        idempotency_key=command.idempotency_key,
        seller_no=seller.seller_no,
        seller_id=seller.seller_id,
        amount_minor=command.amount_minor,
        currency=command.currency,
        fingerprint=command.fingerprint,
    )
