"""The storefronts of a run: requests, repeated until answered, and what was answered to each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

from gateway.idempotency import Verdict
from gateway.open_requests import Decided
from payments.answer import frozen_answer
from payments.commands import PaymentCommand
from payments.fingerprint import fingerprint
from payments.identity import order_uuid
from payments.lifecycle import PaymentState
from payments.mode import Mode
from tests.queue_commands import MERCHANT_ID, a_command
from tests.simulation.loop import SimLoop
from tests.simulation.net import Net, Wire, WireBroken
from tests.simulation.processes import GatewayProcess, Stores
from tests.simulation.script import Operation

# How long a storefront waits before it repeats a request.
PAUSE_S = 0.4
# A client's patience with one request: longer than the gateway's own deadline.
PATIENCE_S = 3.0
BUYER_LOOKS_S = 0.4

ACKNOWLEDGED = frozenset({Verdict.ACCEPTED, Verdict.ACCEPTED_DEFERRED, Verdict.RUNNING})
ANSWERED = ACKNOWLEDGED | {Verdict.FROZEN, Verdict.REUSED}


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. ``body`` is the frozen one's, None for any other."""

    at_s: float
    order_uuid: UUID
    fingerprint: bytes
    verdict: Verdict
    body: bytes | None


@dataclass(slots=True)
class History:
    """What was asked and answered: the first of the independent records."""

    sent: dict[UUID, dict[bytes, PaymentCommand]] = field(default_factory=dict)
    """Every request that ever left, by order and fingerprint."""
    replies: list[Reply] = field(default_factory=list)


def key_of(seed: int, key_no: int) -> UUID:
    """Return the idempotency key of an operation."""
    return UUID(int=(seed << 32 | key_no) & (2**128 - 1), version=4)


def command_of(seed: int, operation: Operation) -> PaymentCommand:
    """Return what an operation asks for."""
    key = key_of(seed, operation.key_no)
    body = {
        "amount": operation.amount_minor,
        "currency": "USD",
        "seller": "s",
        "payment_method": operation.token,
    }
    return a_command(key, amount_minor=operation.amount_minor)._replace(
        order_uuid=order_uuid(MERCHANT_ID, Mode.TEST, key),
        payment_method=operation.token,
        fingerprint=fingerprint(body, bytes(32)),
    )


class Clients:
    """All storefronts and buyers, in a process that never fails."""

    def __init__(
        self, loop: SimLoop, net: Net, seed: int, stores: Stores, gateways: list[GatewayProcess]
    ) -> None:
        self.history = History()
        self._loop = loop
        self._net = net
        self._seed = seed
        self._stores = stores
        self._gateways = gateways
        self.cell = loop.cell("clients")

    def start(self, operations: tuple[Operation, ...]) -> list[asyncio.Task[None]]:
        """Start every operation at its time."""
        return [self.cell.spawn(self._operate(operation)) for operation in operations]

    async def _operate(self, operation: Operation) -> None:
        await asyncio.sleep(operation.at_s)
        command = command_of(self._seed, operation)
        if operation.token == "tok_3ds" and operation.buyer != "leaves":
            self.cell.spawn(
                self._act(command.order_uuid, is_approved=operation.buyer == "approves")
            )
        for attempt in range(operation.tries_max):
            reply = await self.post(command, operation.gateway_no + attempt)
            if reply is not None and reply.verdict in ANSWERED:
                return
            await asyncio.sleep(PAUSE_S)

    async def post(self, command: PaymentCommand, gateway_no: int) -> Reply | None:
        """Send one request. None when no answer came back: it may run."""
        gateway = self._gateways[gateway_no % len(self._gateways)]
        self.history.sent.setdefault(command.order_uuid, {})[command.fingerprint] = command
        wire = Wire(self._net, gateway.cell, "http")
        try:
            decided: Decided = await wire.call(lambda: gateway.post(command), timeout_s=PATIENCE_S)
        except WireBroken:
            return None
        finally:
            wire.abort("answered")
        reply = Reply(
            self._loop.time(),
            command.order_uuid,
            command.fingerprint,
            decided.verdict,
            _body(decided),
        )
        self.history.replies.append(reply)
        self._loop.effect(f"client hears {command.order_uuid} {decided.verdict.name}")
        return reply

    async def final_read(self, command: PaymentCommand) -> Reply | None:
        """Ask once more after everything healed, until there is a final answer."""
        reply = None
        for attempt in range(40):
            reply = await self.post(command, attempt)
            if reply is not None and reply.verdict in (Verdict.FROZEN, Verdict.REUSED):
                return reply
            await asyncio.sleep(0.5)
        return reply

    async def _act(self, order: UUID, *, is_approved: bool) -> None:
        """Be the buyer: once the order waits for an action, do it at the PSP."""
        while True:
            await asyncio.sleep(BUYER_LOOKS_S)
            books = self._stores.postgres.books
            key = books.order_keys.get(order)
            progress = None if key is None else books.open_orders.get(key)
            if key is not None and progress is None:
                return
            if (
                progress is not None
                and progress.status == PaymentState.REQUIRES_ACTION
                and progress.psp_reference is not None
            ):
                await self._stores.psp.inner.complete_action(
                    progress.psp_reference, is_approved=is_approved
                )
                return


def _body(decided: Decided) -> bytes | None:
    if decided.verdict is not Verdict.FROZEN or decided.order is None:
        return None
    return frozen_answer(decided.order.view)[2]
