"""The sandbox PSP without a transport: one request at a time for each key, durable before it is
answered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import datetime
from typing import Any

import msgspec

from psp.simulator.behaviour import Latency, drawn_token, varied_token
from psp.simulator.decided import Decision
from psp.simulator.decisions import SandboxRules
from psp.simulator.records import Record
from psp.simulator.replies import DID_NOT_RUN, IN_PROGRESS, LOCKED, NOT_FOUND, Reply
from psp.simulator.state import SandboxState
from psp.simulator.wire import ChangeKind, ChargeRequest, Faults, Scenario
from runtime.clock import Clock

Append = Callable[[Record], Awaitable[None]]
"""Make a record durable *and* applied to the state, in the order of the calls; then return."""

Sleep = Callable[[float], Awaitable[None]]
"""Wait that many seconds; tests hand in one that does not."""


class Sandbox:
    """Decides through SandboxRules, makes the record durable, then says what to answer.

    While a request runs its key is *held*: a twin is answered 409. A change also holds its charge,
    so that two refunds never both see the same money; the second is told that it did not run.
    """

    def __init__(
        self,
        state: SandboxState,
        *,
        append: Append,
        clock: Clock,
        sleep: Sleep,
        public_url: str,
        scenario: Scenario,
        varied: Mapping[str, float] | None = None,
    ) -> None:
        """``varied``: by sandbox token, the share of ``tok_varied`` that fares as if it were that token."""
        self.state = state
        self.scenario = scenario
        self.faults = Faults()
        self._rules = SandboxRules(state, public_url=public_url)
        self._append = append
        self._varied = varied or {}
        self._clock = clock
        self._sleep = sleep
        self._held: set[str] = set()
        self._last_ms = state.last_at_ms

    def now(self) -> datetime:
        """The present, by the sandbox's clock."""
        return self._clock.now()

    def charge(self, key: str, request: ChargeRequest) -> Coroutine[Any, Any, Decision]:
        """Charge or authorize under a key, or replay it."""
        seed = self.state.seed
        token = varied_token(self._varied, seed, key, request.token)
        token = drawn_token(self.faults.rates, seed, key, token)
        return self._run(
            key,
            [key],
            lambda: self._rules.decide_charge(
                key, request, token=token, scenario=self.scenario, now_ms=self.now_ms()
            ),
        )

    async def change(
        self, key: str, reference: str, kind: ChangeKind, amount_minor: int | None
    ) -> Decision:
        """Capture, void or refund under a key of its own. ``amount_minor`` None: the charge's own
        amount.
        """
        charge = self.state.charge_of_reference(reference)
        if charge is None:
            return Decision(reply=NOT_FOUND)
        if key not in self._held and charge.key in self._held:
            return Decision(reply=LOCKED)
        amount = charge.amount_minor if amount_minor is None else amount_minor
        return await self._run(
            key,
            [key, charge.key],
            lambda: self._rules.decide_change(key, charge, kind, amount, now_ms=self.now_ms()),
        )

    async def cancel(self, key: str) -> Decision:
        """Keep a key from ever charging, or answer what it already did."""
        return await self._run(
            key, [key], lambda: self._rules.decide_cancel(key, now_ms=self.now_ms())
        )

    async def act(
        self, reference: str, *, is_approved: bool, decline_code: str | None = None
    ) -> Decision:
        """Answer 3-D Secure in the buyer's place, or say what became of a card on a payment page."""
        charge = self.state.charge_of_reference(reference)
        if charge is None:
            return Decision(reply=NOT_FOUND)
        return await self._run(
            charge.key,
            [charge.key],
            lambda: self._rules.decide_action(
                charge,
                is_approved=is_approved,
                decline_code=decline_code,
                now_ms=self.now_ms(),
            ),
        )

    async def dispute(self, reference: str, kind: ChangeKind, amount_minor: int | None) -> Decision:
        """Open, win or lose a dispute in the place of the buyer's bank."""
        charge = self.state.charge_of_reference(reference)
        if charge is None:
            return Decision(reply=NOT_FOUND)
        return await self._run(
            charge.key,
            [charge.key],
            lambda: self._rules.decide_dispute(charge, kind, amount_minor, now_ms=self.now_ms()),
        )

    async def query(self, key: str) -> Reply:
        """Answer what a key did; nothing that is not durable yet is told."""
        if self.is_slow:
            await self._pause(key)
        if self._is_down:
            return DID_NOT_RUN
        reply = self._rules.answer_of_key(key, now_ms=self.now_ms())
        return IN_PROGRESS if reply is NOT_FOUND and key in self._held else reply

    async def query_reference(self, reference: str) -> Reply:
        """Answer how a charge stands, by its reference."""
        charge = self.state.charge_of_reference(reference)
        return NOT_FOUND if charge is None else await self.query(charge.key)

    async def _run(self, key: str, holds: list[str], decide: Callable[[], Decision]) -> Decision:
        """Hold, think, decide, make durable; return the decision with its reply filled in."""
        if not self._held.isdisjoint(holds):
            return Decision(reply=IN_PROGRESS)
        self._held.update(holds)
        try:
            if self.is_slow:
                await self._pause(key)
            decision = Decision(reply=DID_NOT_RUN) if self._is_down else decide()
        except BaseException:
            self._held.difference_update(holds)
            raise
        if decision.record is not None:
            # Canceled in here the key stays held: its record may still become durable, and a twin
            # that was decided before that would charge twice.
            await self._append(decision.record)
        self._held.difference_update(holds)
        if decision.reply is not None:
            return decision
        return Decision(
            reply=self._rules.answer_of_key(key, now_ms=self.now_ms()),
            delivery=decision.delivery,
            answer_delay_ms=decision.answer_delay_ms,
        )

    @property
    def is_slow(self) -> bool:
        """Whether anything is thought about for a while."""
        return self.scenario.latency_ms_median > 0 or self.faults.slow_ms > 0

    async def _pause(self, key: str) -> None:
        scenario = self.scenario
        latency = Latency(median_ms=scenario.latency_ms_median, sigma=scenario.latency_ms_sigma)
        delay_s = latency.delay_s(self.state.seed, key) + self.faults.slow_ms / 1000
        if delay_s > 0:
            await self._sleep(delay_s)

    @property
    def _is_down(self) -> bool:
        return self.scenario.outage or self.faults.down

    def now_ms(self) -> int:
        """Milliseconds since 1970 that never go back: the log's order is the order of its times."""
        self._last_ms = max(int(self._clock.now().timestamp() * 1000), self._last_ms)
        return self._last_ms


def scenario_changed(scenario: Scenario, changes: bytes) -> Scenario:
    """Return the scenario changed by a JSON object. Raises one of UNREADABLE."""
    known = msgspec.to_builtins(scenario)
    changed = msgspec.json.decode(changes, type=dict[str, object])
    return msgspec.convert({**known, **changed}, type=Scenario)
