"""A PSP behind a bad network: the sandbox's own rules, answers that get lost, and words against the truth."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from datetime import datetime
from typing import Any

from payments.attempts import PspAnswer, ResultClass
from psp.classification import not_sent, of_another_request, unknown
from psp.in_process import InProcessPsp
from psp.port import Capabilities, ChargeTerms, SettlementLine
from psp.simulator.behaviour import digest_of_key, reference_of_digest
from psp.simulator.state import SandboxState
from runtime.clock import Clock
from tests.simulation.net import Net, Wire, WireBroken
from tests.simulation.ports import Time
from tests.simulation.records import PspRecord
from tests.simulation.webhooks import TellingJournal

# Longer than any caller waits: the callers' own patience decides.
FOR_EVER_S = 3_600.0
# How long a stored error is replayed, and half of it denied to questions.
STORED_500_S = 2.0


class SimPspServer:
    """The PSP's own process and record: never lost, whatever happens on the way to it."""

    def __init__(
        self,
        time: Time,
        net: Net,
        clock: Clock,
        seed: object,
        *,
        name: str = "simulator",
        stored_500: float = 0.0,
        query_lag_s: float = 0.0,
        prepares: bool = False,
    ) -> None:
        """``prepares``: a charge takes two sends, as it does at Stripe."""
        self.time = time
        self.net = net
        self.link = f"psp-{name}"
        self.cell = time.cell(self.link)
        self.is_down = False
        self.prepares = prepares
        self._prepared: dict[str, bytes] = {}
        self._seed = random.Random(f"{seed}:psp:{name}").getrandbits(32)
        self.journal: TellingJournal
        self.inner = InProcessPsp(
            name=name,
            account="default",
            seed=self._seed,
            clock=clock,
            sleep=asyncio.sleep,
            journal=self._journal_of,
        )
        self._random = random.Random(f"{seed}:psp-words:{name}")
        self._stored_500 = stored_500
        self._query_lag_s = query_lag_s
        self._errors_until_s: dict[str, float] = {}
        self._first_seen_s: dict[str, float] = {}
        self._canceled: dict[str, None] = {}
        """Keys that somebody wanted canceled, in their order."""

    def _journal_of(self, state: SandboxState) -> TellingJournal:
        self.journal = TellingJournal(state)
        return self.journal

    def record(self) -> PspRecord:
        """Return everything that the PSP knows to have happened."""
        burned = [key for key in self._canceled if self.inner.is_burned(key)]
        return PspRecord(list(self.inner.oracle_rows()), burned)

    async def charge(self, psp_key: str, request: bytes, reference: str | None) -> PspAnswer:
        """Charge, or replay; perhaps an error is what is replayed for a while."""
        if self.prepares and reference is None:
            if self._prepared.setdefault(psp_key, request) != request:
                return unknown("HTTP 400: the key was used with another body")
            return PspAnswer(result=ResultClass.PREPARED, reference=self._reference_of(psp_key))
        if self.prepares and (psp_key not in self._prepared or not self._is_of(psp_key, reference)):
            return unknown("HTTP 404: no such charge")
        now_s = self.time.time()
        is_first = psp_key not in self._first_seen_s
        self._first_seen_s.setdefault(psp_key, now_s)
        if is_first and self._random.random() < self._stored_500:
            self._errors_until_s[psp_key] = now_s + STORED_500_S
        answer = await self.inner.charge(
            psp_key, request, reference=reference, timeout_s=FOR_EVER_S
        )
        self.time.effect(f"psp charge {psp_key} {answer.result.name}")
        if self._errors_until_s.get(psp_key, 0.0) > now_s:
            return unknown("HTTP 500, and again under this key")
        return answer

    async def query(self, psp_key: str, reference: str | None) -> PspAnswer:
        """Answer what a key did, later than it did it."""
        if self.prepares and reference is None:
            return unknown("nothing is found by a key alone")
        now_s = self.time.time()
        if self._first_seen_s.get(psp_key, 0.0) + self._query_lag_s > now_s:
            return unknown("HTTP 404: not in this copy yet")
        if self._errors_until_s.get(psp_key, 0.0) - STORED_500_S / 2 > now_s:
            return unknown("HTTP 500")
        return await self.inner.query(psp_key=psp_key, reference=reference, timeout_s=FOR_EVER_S)

    async def cancel(self, psp_key: str, reference: str | None) -> PspAnswer:
        """Cancel a key, or say what it did."""
        if self.prepares and not self._is_of(psp_key, reference):
            return unknown("nothing is canceled by a key alone")
        self._canceled[psp_key] = None
        answer = await self.inner.cancel(psp_key=psp_key, reference=reference, timeout_s=FOR_EVER_S)
        self.time.effect(f"psp cancel {psp_key} {answer.result.name}")
        return answer

    def capabilities(self) -> Capabilities:
        """What this PSP promises."""
        able = self.inner.capabilities
        if not self.prepares:
            return able
        return replace(able, prepares=True, can_burn_key=False, queries_by=frozenset({"reference"}))

    def _is_of(self, psp_key: str, reference: str | None) -> bool:
        return reference == self._reference_of(psp_key)

    def _reference_of(self, psp_key: str) -> str:
        return reference_of_digest(digest_of_key(self._seed, psp_key))


class SimPsp:
    """``psp.port.Psp`` for one host: each call on a connection of its own."""

    def __init__(self, server: SimPspServer) -> None:
        self._server = server

    @property
    def name(self) -> str:
        return self._server.inner.name

    @property
    def account(self) -> str:
        return self._server.inner.account

    @property
    def capabilities(self) -> Capabilities:
        return self._server.capabilities()

    def canonical_charge(self, terms: ChargeTerms) -> bytes:
        return self._server.inner.canonical_charge(terms)

    async def charge(
        self, psp_key: str, request: bytes, *, reference: str | None = None, timeout_s: float
    ) -> PspAnswer:
        server = self._server
        answer = await self._ask(lambda: server.charge(psp_key, request, reference), timeout_s)
        if server.prepares and reference is None and answer.is_silent:
            # Whatever became of a first half, nothing was charged by it, and nothing will be.
            return answer._replace(result=ResultClass.NOT_SENT)
        return answer

    async def query(self, *, psp_key: str, reference: str | None, timeout_s: float) -> PspAnswer:
        server = self._server
        return of_another_request(
            await self._ask(lambda: server.query(psp_key, reference), timeout_s)
        )

    async def cancel(self, *, psp_key: str, reference: str | None, timeout_s: float) -> PspAnswer:
        server = self._server
        return of_another_request(
            await self._ask(lambda: server.cancel(psp_key, reference), timeout_s)
        )

    async def capture(
        self, psp_key: str, reference: str, amount_minor: int, *, timeout_s: float
    ) -> PspAnswer:
        inner = self._server.inner
        return await self._ask(
            lambda: inner.capture(psp_key, reference, amount_minor, timeout_s=FOR_EVER_S),
            timeout_s,
        )

    async def void(self, psp_key: str, reference: str, *, timeout_s: float) -> PspAnswer:
        inner = self._server.inner
        return await self._ask(
            lambda: inner.void(psp_key, reference, timeout_s=FOR_EVER_S), timeout_s
        )

    async def refund(
        self, psp_key: str, reference: str, amount_minor: int, *, timeout_s: float
    ) -> PspAnswer:
        inner = self._server.inner
        return await self._ask(
            lambda: inner.refund(psp_key, reference, amount_minor, timeout_s=FOR_EVER_S),
            timeout_s,
        )

    async def settlement_report(self, *, since: datetime) -> AsyncIterator[SettlementLine]:
        async for line in self._server.inner.settlement_report(since=since):
            yield line

    async def close(self) -> None:
        """Nothing is open."""

    async def _ask(
        self, handler: Callable[[], Coroutine[Any, Any, PspAnswer]], timeout_s: float
    ) -> PspAnswer:
        if self._server.is_down:
            await asyncio.sleep(self._server.net.delay_s())
            return not_sent("connection refused")
        wire = Wire(self._server.net, self._server.cell, self._server.link)
        try:
            return await wire.call(handler, timeout_s=timeout_s)
        except WireBroken as broken:
            if not broken.is_sent:
                return not_sent(broken.reason)
            return unknown(broken.reason, is_silent=True)
