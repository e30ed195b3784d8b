"""A whole benchmark: rounds of every run, side by side, and what they show together."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec

from loadtest.bench.figures import Figures, cpu_ratios, floors, ratios, summary
from loadtest.bench.generator.job import LoadJob
from loadtest.bench.loading import load
from loadtest.bench.machine import machine_facts, measured_at, revision
from loadtest.bench.plan import IN_PROCESS, SIMULATOR, Options, Plan, Scenario
from loadtest.bench.running import Runner
from loadtest.bench.servers import servers
from loadtest.bench.stack import SELLERS, BenchStack, StackShape

# The generator must be able to send twice what the fastest server answers, else it is what is
# measured.
GENERATOR_MARGIN = 2.0
GENERATOR_PROBE_S = 1.5

Progress = Callable[[str], None]


class Session:
    """Runs a plan. ``progress`` is told what comes next, with the time since the start."""

    def __init__(self, plan: Plan, options: Options, progress: Progress) -> None:
        self._plan = plan
        self._options = options
        self._tell = progress
        self._started_s = time.monotonic()
        self._figures: dict[str, list[Figures]] = defaultdict(list)
        self._durability: dict[str, Any] = {}
        self._server_versions: dict[str, str] = {}

    async def run(self) -> dict[str, Any]:
        """Return the document of ``tally bench --json``. Raises BenchFailed, LocalFault."""
        machine = machine_facts(self._options.form)
        self._progress(f"our code: {machine['code']}")
        self._progress("generator: how fast it is by itself")
        generator_rate = await _generator_rate(self._options)
        for round_no in range(1, self._options.repeat + 1):
            for psp in (IN_PROCESS, SIMULATOR):
                if scenarios := self._plan.of_psp(psp):
                    await self._round(round_no, psp, scenarios)
        return self._document(machine, generator_rate)

    async def _round(self, round_no: int, psp: str, scenarios: list[Scenario]) -> None:
        """One stack on fresh data, and every scenario that it can run, once."""
        options = self._options
        self._progress(f"round {round_no} of {options.repeat}: a stack, PSP {psp}")
        stack = await BenchStack.start(StackShape.of(options, psp), lambda _: None)
        try:
            self._server_versions = await stack.stores.versions()
            runner = Runner(stack, options, round_no)
            for scenario in scenarios:
                self._progress(f"round {round_no}: {', '.join(scenario.names)}")
                self._note(await runner.run(scenario))
        finally:
            await stack.close(lambda _: None)

    def _note(self, shown: Any) -> None:
        for name, figures in shown.items():
            self._durability = figures.detail.pop("durability", self._durability)
            if name in self._plan.names:
                self._figures[name].append(figures)
                void = f"  VOID: {'; '.join(figures.void)}" if figures.void else ""
                self._progress(f"  {name}: {figures.rate_per_s:,.0f}/s{void}")

    def _document(self, machine: dict[str, Any], generator_rate: float) -> dict[str, Any]:
        runs = {name: summary(repeats) for name, repeats in self._figures.items()}
        seen_ratios = ratios(runs)
        noop = runs["noop"]["rate_per_s"] if "noop" in runs else None
        is_enough = None if noop is None else generator_rate >= GENERATOR_MARGIN * noop
        all_figures = [(name, one) for name, many in self._figures.items() for one in many]
        return {
            "runs": runs,
            "ratios": seen_ratios,
            "cpu_ratios": cpu_ratios(runs),
            "floors": floors(runs, seen_ratios, is_judged=not self._options.is_short),
            "verify": {
                "ok": all(one.verify["ok"] for _, one in all_figures),
                "runs": {
                    name: [one.verify for one in many] for name, many in self._figures.items()
                },
            },
            "void": [f"{name}: {reason}" for name, one in all_figures for reason in one.void],
            "durability": self._durability,
            "generator": {
                "rate_per_s_alone": round(generator_rate, 1),
                "noop_rate_per_s": noop,
                "is_enough": is_enough,
            },
            "machine": {
                **machine,
                "versions": {**machine["versions"], **self._server_versions},
                "load_average_after": list(os.getloadavg()),
            },
            "revision": revision(),
            "measured_at": measured_at(),
            "seed": self._options.seed,
            "options": msgspec.to_builtins(self._options),
            "seconds": round(time.monotonic() - self._started_s, 1),
        }

    def _progress(self, text: str) -> None:
        self._tell(f"{time.monotonic() - self._started_s:6.1f} s  {text}")


async def _generator_rate(options: Options) -> float:
    """Requests a second that the generator makes against a server that does nothing but answer."""
    async with servers("responder", count=1, form=options.form, secrets={}) as responder:
        host, port = responder.address
        job = LoadJob(
            host=host,
            port=port,
            api_key="none",
            sellers=SELLERS,
            seed=str(options.seed),
            seconds=min(GENERATOR_PROBE_S, options.seconds),
            connection_count=options.connections,
        )
        loaded = await load(job)
    return loaded.accepted_count / loaded.seconds
