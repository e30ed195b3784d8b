"""What the PSP contract needs of each kind of PSP: a connector, and a view of what really happened."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

import aiohttp
import msgspec

from psp.http_simulator import SimulatorPsp
from psp.in_process import InProcessPsp
from psp.port import Psp
from psp.simulator.sandbox import scenario_changed
from psp.simulator.wire import Faults, OracleRow, Scenario, Totals
from tests.simulation.net import Net, Weather
from tests.simulation.ports import RealTime
from tests.simulation.sim_psp import SimPsp, SimPspServer

# No wait inside a simulated PSP is longer, in these tests.
REAL_WAIT_S_MAX = 0.5


class Harness(Protocol):
    """A connector, and a view of what really happened behind it."""

    references: dict[str, str]
    """By key: what a PSP that prepares charges has answered. An owner has it in its books."""

    @property
    def psp(self) -> Psp: ...
    async def set_scenario(self, changes: bytes) -> None: ...
    async def set_faults(self, faults: Faults) -> None: ...
    async def act(self, reference: str, *, is_approved: bool) -> None: ...
    async def oracle_rows(self) -> list[OracleRow]: ...
    async def totals(self) -> Totals: ...
    async def pass_time(self, duration_s: float) -> None: ...


@dataclass
class SteppedClock:
    """A clock that only moves when a test moves it."""

    at: datetime = field(default=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))

    def monotonic_s(self) -> float:
        return self.at.timestamp()

    def now(self) -> datetime:
        return self.at


async def no_sleep(_duration_s: float) -> None:
    """Let others run, but wait for nothing."""
    await asyncio.sleep(0)


class InProcessHarness:
    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.sandbox = InProcessPsp(
            name="sandbox", account="default", seed=1, clock=self.clock, sleep=no_sleep
        )
        self.psp: Psp = self.sandbox
        self.references: dict[str, str] = {}
        self._scenario = Scenario()

    async def set_scenario(self, changes: bytes) -> None:
        self._scenario = scenario_changed(self._scenario, changes)
        self.sandbox.set_scenario(self._scenario)

    async def set_faults(self, faults: Faults) -> None:
        self.sandbox.set_faults(faults)

    async def act(self, reference: str, *, is_approved: bool) -> None:
        await self.sandbox.complete_action(reference, is_approved=is_approved)

    async def oracle_rows(self) -> list[OracleRow]:
        return list(self.sandbox.oracle_rows())

    async def totals(self) -> Totals:
        return self.sandbox.totals()

    async def pass_time(self, duration_s: float) -> None:
        self.clock.at += timedelta(seconds=duration_s)


class SimulatedHarness(InProcessHarness):
    """The PSP of the simulation, on an ordinary loop."""

    def __init__(self, *, prepares: bool = False) -> None:
        super().__init__()
        net = Net("contract", Weather())
        server = SimPspServer(RealTime(), net, self.clock, "contract", prepares=prepares)
        self.sandbox = server.inner
        self.psp = SimPsp(server)

    async def pass_time(self, duration_s: float) -> None:
        """Let both clocks go on: this PSP's own waits are real."""
        await super().pass_time(duration_s)
        await asyncio.sleep(min(duration_s, REAL_WAIT_S_MAX))


class SimulatorHarness:
    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.psp: Psp = SimulatorPsp(name="sandbox", account="default", url=url)
        self.references: dict[str, str] = {}
        self._url = url
        self._http = http

    async def set_scenario(self, changes: bytes) -> None:
        async with self._http.post(f"{self._url}/_sim/scenario", data=changes) as response:
            assert response.status == 200

    async def set_faults(self, faults: Faults) -> None:
        body = msgspec.json.encode(faults)
        async with self._http.post(f"{self._url}/_faults", data=body) as response:
            assert response.status == 200

    async def act(self, reference: str, *, is_approved: bool) -> None:
        decision = "complete" if is_approved else "fail"
        path = f"{self._url}/_sim/actions/{reference}/{decision}"
        async with self._http.post(path) as response:
            assert response.status == (200 if is_approved else 402)

    async def oracle_rows(self) -> list[OracleRow]:
        async with self._http.get(f"{self._url}/_oracle/charges") as response:
            return msgspec.json.Decoder(OracleRow).decode_lines(await response.read())

    async def totals(self) -> Totals:
        async with self._http.get(f"{self._url}/_oracle/totals") as response:
            return msgspec.json.decode(await response.read(), type=Totals)

    async def pass_time(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)
