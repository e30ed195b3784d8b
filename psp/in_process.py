"""A PSP inside our own process: the simulator's rules without HTTP and without a log.

For benchmarks, filled books and tests only. Unless it is given a journal, it forgets everything when the process ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec

from payments.attempts import PspAnswer
from psp.classification import classify_query, classify_send, of_another_request, unknown
from psp.port import Capabilities, ChargeTerms, SettlementLine
from psp.sandbox_format import CAPABILITIES, canonical_charge, settlement_lines
from psp.simulator.decided import Decision, Delivery
from psp.simulator.records import Record
from psp.simulator.replies import Reply, named
from psp.simulator.sandbox import Sandbox, Sleep
from psp.simulator.state import SandboxState
from psp.simulator.wire import ChangeKind, ChargeRequest, Faults, OracleRow, Scenario, Totals
from runtime.clock import Clock

Answer = TypeVar("Answer")

_CHARGE = msgspec.json.Decoder(ChargeRequest)
_ENCODER = msgspec.json.Encoder()


class Journal(Protocol):
    """Where a PSP's records go before they count."""

    async def append(self, record: Record) -> None:
        """Return once the record is kept, and the state has it."""
        ...

    async def close(self) -> None:
        """Keep what is under way, and end."""
        ...


class _Memory:
    """Forgets with the process."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    async def append(self, record: Record) -> None:
        self._state.apply(record)

    async def close(self) -> None:
        pass


class InProcessPsp:
    """Answers as the simulator would. A lost answer is UNKNOWN at once: no test waits for a time-
    out.

    ``sleep`` is used for latencies and for ``tok_slow_<ms>``; one that returns at once makes those
    immediate as well.
    """

    def __init__(
        self,
        *,
        name: str,
        account: str,
        seed: int,
        clock: Clock,
        scenario: Scenario | None = None,
        sleep: Sleep = asyncio.sleep,
        journal: Callable[[SandboxState], Journal] = _Memory,
    ) -> None:
        """``journal`` is made once, for the state that it tells of every record."""
        self._name = name
        self._account = account
        self._sleep = sleep
        self._running: set[object] = set()
        self._state = SandboxState(seed=seed)
        self._journal = journal(self._state)
        self._sandbox = Sandbox(
            self._state,
            append=self._journal.append,
            clock=clock,
            sleep=sleep,
            public_url="https://sandbox.invalid",
            scenario=scenario or Scenario(),
        )

    @property
    def name(self) -> str:
        return self._name

    @property
    def account(self) -> str:
        return self._account

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def canonical_charge(self, terms: ChargeTerms) -> bytes:
        return canonical_charge(terms)

    async def charge(
        self, psp_key: str, request: bytes, *, reference: str | None = None, timeout_s: float
    ) -> PspAnswer:
        running = self._sandbox.charge(psp_key, _CHARGE.decode(request))
        return await self._sent(psp_key, running, timeout_s)

    async def capture(
        self, psp_key: str, reference: str, amount_minor: int, *, timeout_s: float
    ) -> PspAnswer:
        return await self._change(psp_key, reference, ChangeKind.CAPTURE, amount_minor, timeout_s)

    async def void(self, psp_key: str, reference: str, *, timeout_s: float) -> PspAnswer:
        return await self._change(psp_key, reference, ChangeKind.VOID, None, timeout_s)

    async def refund(
        self, psp_key: str, reference: str, amount_minor: int, *, timeout_s: float
    ) -> PspAnswer:
        return await self._change(psp_key, reference, ChangeKind.REFUND, amount_minor, timeout_s)

    async def query(self, *, psp_key: str, reference: str | None, timeout_s: float) -> PspAnswer:
        reply = await self._within(timeout_s, self._sandbox.query(psp_key))
        if reply is None:
            return unknown("the answer came too late", is_silent=True)
        return classify_query(psp_key, *_as_http(reply, psp_key))

    async def cancel(self, *, psp_key: str, reference: str | None, timeout_s: float) -> PspAnswer:
        running = self._sandbox.cancel(psp_key)
        return of_another_request(await self._sent(psp_key, running, timeout_s))

    def settlement_report(self, *, since: datetime) -> AsyncIterator[SettlementLine]:
        return settlement_lines(self._state.settlement_rows(int(since.timestamp() * 1000)))

    async def close(self) -> None:
        await self._journal.close()

    # -- what only a sandbox has ------------------------------------------------------------------

    @property
    def state(self) -> SandboxState:
        """What it remembers."""
        return self._state

    def set_scenario(self, scenario: Scenario) -> None:
        self._sandbox.scenario = scenario

    def set_faults(self, faults: Faults) -> None:
        """As ``POST /_faults`` does, but for ``refuse_ms``: there is no port."""
        self._sandbox.faults = faults

    async def complete_action(self, reference: str, *, is_approved: bool = True) -> None:
        """Answer 3-D Secure in the buyer's place."""
        await self._sandbox.act(reference, is_approved=is_approved)

    async def dispute(
        self, reference: str, kind: ChangeKind, amount_minor: int | None = None
    ) -> None:
        """Open, win or lose a dispute in the place of the buyer's bank."""
        await self._sandbox.dispute(reference, kind, amount_minor)

    def oracle_rows(self, after: int = 0) -> Iterator[OracleRow]:
        """Yield what was really charged."""
        return self._state.oracle_rows(after)

    def is_burned(self, psp_key: str) -> bool:
        """Whether a key was canceled before it did anything: it never charges."""
        return self._state.is_burned(psp_key)

    def totals(self) -> Totals:
        return self._state.totals()

    async def _change(
        self,
        psp_key: str,
        reference: str,
        kind: ChangeKind,
        amount_minor: int | None,
        timeout_s: float,
    ) -> PspAnswer:
        running = self._sandbox.change(psp_key, reference, kind, amount_minor)
        return await self._sent(psp_key, running, timeout_s)

    async def _sent(
        self, psp_key: str, running: Coroutine[None, None, Decision], timeout_s: float
    ) -> PspAnswer:
        decision = await self._within(timeout_s, running)
        if decision is None:
            return unknown("the answer came too late", is_silent=True)
        if decision.delivery is not Delivery.ANSWER or decision.reply is None:
            return unknown("no answer", is_silent=True)
        delay_s = decision.answer_delay_ms / 1000
        if delay_s > 0:
            await self._sleep(min(delay_s, timeout_s))
        if delay_s >= timeout_s:
            return unknown("the answer came too late", is_silent=True)
        return classify_send(psp_key, *_as_http(decision.reply, psp_key))

    def _within(
        self, timeout_s: float, running: Coroutine[None, None, Answer]
    ) -> Awaitable[Answer | None]:
        """The PSP's answer, or None at the deadline; the PSP goes on regardless."""
        if not self._sandbox.is_slow:
            return running
        return self._until(timeout_s, running)

    async def _until(
        self, timeout_s: float, running: Coroutine[None, None, Answer]
    ) -> Answer | None:
        task = asyncio.ensure_future(running)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.wait([task], timeout=timeout_s)
        return task.result() if task.done() else None


def _as_http(reply: Reply, key: str) -> tuple[int, bytes]:
    told = named(reply, key)
    return told.status, _ENCODER.encode(told.body)
