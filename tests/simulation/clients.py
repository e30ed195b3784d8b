"""The storefronts of a run: requests, repeated until answered, and what was answered to each."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from uuid import UUID

from gateway.idempotency import Verdict
from loadtest.checker.records import ClientEvent, EventType, OpKind
from payments.commands import OperationCommand, PaymentCommand
from payments.fingerprint import fingerprint
from payments.identity import order_uuid
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.operation_kinds import BY_WIRE
from payments.splits import Split
from psp.simulator.wire import ChangeKind
from tests.operated import an_operation
from tests.queue_commands import MERCHANT_ID, a_command
from tests.simulation.answers import Answered
from tests.simulation.loop import SimLoop
from tests.simulation.net import Net, Wire, WireBroken
from tests.simulation.processes import GatewayProcess, Stores
from tests.simulation.records import SELLER_ID, SELLER_NO, to_ns
from tests.simulation.script import Dispute, LifeDeed, Operation

# How long a storefront waits before it repeats a request.
PAUSE_S = 0.4
# A client's patience with one request: longer than the gateway's own deadline.
PATIENCE_S = 3.0
BUYER_LOOKS_S = 0.4

ACKNOWLEDGED = frozenset({Verdict.ACCEPTED, Verdict.ACCEPTED_DEFERRED, Verdict.RUNNING})
TAKEN_IN = ACKNOWLEDGED | {Verdict.FROZEN}
ANSWERED = TAKEN_IN | {Verdict.REUSED}
STATUS_REFUSED = 422
_ENDS = {"won": ChangeKind.DISPUTE_WON, "lost": ChangeKind.DISPUTE_LOST}


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
    operations: dict[UUID, dict[bytes, OperationCommand]] = field(default_factory=dict)
    """Every capture, void and refund that was ever asked for, by identity and fingerprint."""
    operation_replies: list[Reply] = field(default_factory=list)
    events: list[ClientEvent] = field(default_factory=list)
    """The same for the shared checker: an invocation and an end of each operation."""

    def invoke(self, command: PaymentCommand, at_s: float) -> ClientEvent:
        """Note that a request leaves now."""
        self.sent.setdefault(command.order_uuid, {})[command.fingerprint] = command
        event = ClientEvent(
            op=len(self.events) + 1,
            type=EventType.INVOKE,
            at_ns=to_ns(at_s),
            kind=OpKind.POST,
            merchant=command.merchant_id,
            mode=command.mode.name.lower(),
            key=str(command.idempotency_key),
            fingerprint=command.fingerprint.hex(),
            amount_minor=command.amount_minor,
            currency=command.currency,
            seller=SELLER_ID,
            token=command.payment_method,
            metadata=command.metadata_json or "{}",
        )
        self.events.append(event)
        return event

    def answered(self, invoked: ClientEvent, answer: Answered, at_s: float) -> None:
        """Note what came back."""
        is_certain = answer.status == STATUS_REFUSED or not answer.may_run
        ended = EventType.FAIL if is_certain else EventType.INFO
        self.events.append(
            invoked._replace(
                type=EventType.OK if answer.verdict in TAKEN_IN else ended,
                at_ns=to_ns(at_s),
                status=answer.status,
                body_sha256=hashlib.sha256(answer.body).hexdigest(),
                body=answer.body.decode(),
                is_replayed=answer.is_replayed,
                is_deferred=answer.is_deferred,
            )
        )

    def lost(self, invoked: ClientEvent, reason: str, at_s: float) -> None:
        """Note that nothing came back."""
        self.events.append(invoked._replace(type=EventType.INFO, at_ns=to_ns(at_s), error=reason))


def key_of(seed: int, key_no: int) -> UUID:
    """Return the idempotency key of an operation."""
    return UUID(int=(seed << 32 | key_no) & (2**128 - 1), version=4)


def command_of(seed: int, operation: Operation) -> PaymentCommand:
    """Return what an operation asks for."""
    key = key_of(seed, operation.key_no)
    splits = splits_of(operation)
    body = {
        "amount": operation.amount_minor,
        "currency": "USD",
        "seller": "s",
        "splits": [list(split) for split in splits] or None,
        "payment_method": operation.token,
        "capture": "manual" if operation.captures_manually else "automatic",
    }
    command = a_command(key, amount_minor=operation.amount_minor)
    return command._replace(
        fee_minor=sum(split.fee_minor for split in splits) if splits else command.fee_minor,
        splits=splits or None,
        order_uuid=order_uuid(MERCHANT_ID, Mode.TEST, key),
        payment_method=operation.token,
        fingerprint=fingerprint(body, bytes(32)),
        captures_manually=operation.captures_manually,
    )


def splits_of(operation: Operation) -> tuple[Split, ...]:
    """Return whose parts an operation's charge has; empty where it is one seller's."""
    behind = [operation.amount_minor // (n + 1) for n in range(2, operation.seller_count + 1)]
    parts = [operation.amount_minor - sum(behind), *behind]
    splits = tuple(
        Split(SELLER_NO + n, minor, minor // 11 if n else 0) for n, minor in enumerate(parts)
    )
    return splits if behind else ()


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
                break
            await asyncio.sleep(PAUSE_S)
        if operation.deeds or operation.dispute:
            await self._live(operation, command)

    async def _live(self, operation: Operation, command: PaymentCommand) -> None:
        """Once the payment's answer is frozen, ask for everything else, each in its own time."""
        frozen = await self.final_read(command)
        if frozen is None or frozen.verdict is not Verdict.FROZEN:
            return
        asked = [self.cell.spawn(self._do(deed, command)) for deed in operation.deeds]
        if operation.dispute is not None:
            asked.append(self.cell.spawn(self._dispute(operation.dispute, command)))
        await asyncio.wait(asked)
        for task in asked:
            task.result()

    async def _dispute(self, dispute: Dispute, command: PaymentCommand) -> None:
        """Be the buyer's bank: dispute what was captured by then, and decide it later."""
        await asyncio.sleep(dispute.after_s)
        key = str(command.idempotency_key)
        for psp in self._stores.psps.values():
            for row in psp.inner.oracle_rows():
                left_minor = row.captured - row.refunded
                if row.order_key != key or left_minor == 0:
                    continue
                amount_minor = max(1, left_minor // dispute.part)
                await psp.inner.dispute(row.reference, ChangeKind.DISPUTE, amount_minor)
                await asyncio.sleep(dispute.ends_after_s)
                if dispute.ends:
                    await psp.inner.dispute(row.reference, _ENDS[dispute.ends])
                return

    async def _do(self, deed: LifeDeed, command: PaymentCommand) -> None:
        await asyncio.sleep(deed.after_s)
        kind = BY_WIRE[deed.kind]
        wanted = an_operation(kind, command, deed.key_no, deed.amount_minor)
        for attempt in range(6):
            reply = await self.operate(wanted, deed.gateway_no + attempt)
            if reply is not None and reply.verdict in ANSWERED:
                return
            await asyncio.sleep(PAUSE_S)

    async def operate(self, command: OperationCommand, gateway_no: int) -> Reply | None:
        """Ask for an operation once. None when no answer came back: it may run."""
        self.history.operations.setdefault(command.operation_uuid, {})[command.fingerprint] = (
            command
        )
        gateway = self._gateways[gateway_no % len(self._gateways)]
        wire = Wire(self._net, gateway.cell, "http")
        try:
            verdict, body = await wire.call(lambda: gateway.operate(command), timeout_s=PATIENCE_S)
        except WireBroken:
            return None
        finally:
            wire.abort("answered")
        identity = command.operation_uuid
        reply = Reply(self._loop.time(), identity, command.fingerprint, verdict, body)
        self.history.operation_replies.append(reply)
        self._loop.effect(f"client hears {identity} {verdict.name}")
        return reply

    async def final_operation(self, command: OperationCommand) -> None:
        """Ask once more after everything healed, until there is a final answer."""
        for attempt in range(40):
            reply = await self.operate(command, attempt)
            if reply is not None and reply.verdict in (Verdict.FROZEN, Verdict.REUSED):
                return
            await asyncio.sleep(0.5)

    async def post(self, command: PaymentCommand, gateway_no: int) -> Reply | None:
        """Send one request. None when no answer came back: it may run."""
        gateway = self._gateways[gateway_no % len(self._gateways)]
        invoked = self.history.invoke(command, self._loop.time())
        wire = Wire(self._net, gateway.cell, "http")
        try:
            answer = await wire.call(lambda: gateway.post(command), timeout_s=PATIENCE_S)
        except WireBroken as broken:
            self.history.lost(invoked, broken.reason, self._loop.time())
            return None
        finally:
            wire.abort("answered")
        reply = Reply(
            self._loop.time(),
            command.order_uuid,
            command.fingerprint,
            answer.verdict,
            answer.body if answer.verdict is Verdict.FROZEN else None,
        )
        self.history.replies.append(reply)
        self.history.answered(invoked, answer, self._loop.time())
        self._loop.effect(f"client hears {command.order_uuid} {answer.verdict.name}")
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
            if key is None:
                continue
            if progress is None:
                return
            if (
                progress.status == PaymentState.REQUIRES_ACTION
                and progress.psp_reference is not None
            ):
                attempt, _ = books.attempts[(*key, progress.attempt_no)]
                await self._stores.psps[attempt.psp].inner.complete_action(
                    progress.psp_reference, is_approved=is_approved
                )
                return
