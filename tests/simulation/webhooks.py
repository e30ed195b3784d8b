"""What the simulated PSPs tell by webhook: each in its own time, again, out of order, and some by forgers.

A webhook is tried again until a gateway has it on every copy. Those of disputes are never dropped: nothing else
tells of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from psp.in_process import InProcessPsp
from psp.simulator.records import Record
from psp.simulator.state import SandboxState
from psp.simulator.webhook_sending import standard_shape
from psp.simulator.webhooks import Sending, sendings_of, told_by
from psp.simulator.wire import WebhookFaults
from runtime.clock import Clock
from tests.simulation.loop import Cell
from tests.simulation.net import Net, Wire, WireBroken
from tests.simulation.script import Knobs

SECRET = b"known to the provider and to us"
_FORGERS_SECRET = b"somebody else's, never told us."

RETRY_S = 1.0
TRIES_MAX = 400
PATIENCE_S = 3.0
STATUS_TAKEN = range(200, 300)


class Receiver(Protocol):
    """A gateway, as far as a PSP knows it."""

    @property
    def cell(self) -> Cell: ...

    async def webhook(self, psp: str, body: bytes, headers: dict[str, str]) -> int:
        """Return the status of one request."""
        ...


class TellingJournal:
    """Tells what the PSP has made durable. Made in parts: what listens is there later than the PSP."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state
        self.on_record: Callable[[Record], None] | None = None

    async def append(self, record: Record) -> None:
        self._state.apply(record)
        if self.on_record is not None:
            self.on_record(record)

    async def close(self) -> None:
        """Nothing to close."""


class WebhookLine:
    """Sends one PSP's webhooks to the gateways, from a process that never fails."""

    def __init__(
        self,
        psp: InProcessPsp,
        journal: TellingJournal,
        receivers: Sequence[Receiver],
        *,
        cell: Cell,
        net: Net,
        clock: Clock,
        knobs: Knobs,
        seed: int,
    ) -> None:
        self._psp = psp
        self._receivers = receivers
        self._cell = cell
        self._net = net
        self._clock = clock
        self._seed = seed
        self._faults = WebhookFaults(
            duplicate=knobs.webhook_twice,
            reorder=knobs.webhook_twice,
            forge=knobs.webhook_forged,
            replay=knobs.webhook_forged,
            drop=1.0 - knobs.webhook_share,
            delay_ms=int(knobs.webhook_delay_s * 1_000),
        )
        self._of_disputes = WebhookFaults(
            duplicate=knobs.webhook_twice,
            forge=knobs.webhook_forged,
            replay=knobs.webhook_forged,
            delay_ms=int(knobs.webhook_delay_s * 1_000),
        )
        self.waiting_count = 0
        """What still has to be taken."""
        self.taken: Counter[str] = Counter()
        """By kind of sending (psp.simulator.webhooks)."""
        journal.on_record = self._told

    def _told(self, record: Record) -> None:
        body = told_by(self._psp.state, record)
        if body is None:
            return
        faults = self._faults if body.data.dispute is None else self._of_disputes
        for number, sending in enumerate(sendings_of(body, faults, self._seed)):
            self.waiting_count += sending.is_wanted
            self._cell.spawn(self._send(sending, number))

    async def _send(self, sending: Sending, number: int) -> None:
        await asyncio.sleep(sending.delay_ms / 1_000)
        for attempt in range(TRIES_MAX if sending.is_wanted else 1):
            signed_at_s = int(self._clock.now().timestamp()) - sending.age_s
            secret = _FORGERS_SECRET if sending.is_forged else SECRET
            body, headers = standard_shape(sending.body, secret, signed_at_s)
            receiver = self._receivers[(number + attempt) % len(self._receivers)]
            status = await self._post(receiver, body, headers)
            if status in STATUS_TAKEN:
                self.taken[sending.kind] += 1
                break
            await asyncio.sleep(RETRY_S)
        self.waiting_count -= sending.is_wanted

    async def _post(self, receiver: Receiver, body: bytes, headers: dict[str, str]) -> int:
        wire = Wire(self._net, receiver.cell, "http")
        try:
            return await wire.call(
                lambda: receiver.webhook(self._psp.name, body, headers), timeout_s=PATIENCE_S
            )
        except WireBroken:
            return 0
        finally:
            wire.abort("answered")
