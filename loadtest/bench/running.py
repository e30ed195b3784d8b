"""Carrying out one scenario on a running stack: warm up, measure, settle, check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from loadtest.bench.baseline_runs import run_copy, run_handwritten, run_noop
from loadtest.bench.figures import Figures
from loadtest.bench.generator.job import LoadJob
from loadtest.bench.loading import load
from loadtest.bench.measuring import measured
from loadtest.bench.plan import Kind, Options, Scenario
from loadtest.bench.stack import SELLERS, BenchStack
from loadtest.bench.verifying import verify

# Enough for caches, connections and code paths to be warm; a tenth of a run.
WARM_UP_S = 0.8
# A backlog is accepted at some thousands a second; this is beyond any.
BACKLOG_S_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs scenarios on one stack. ``round_no`` keeps the keys of repeats apart."""

    stack: BenchStack
    options: Options
    round_no: int

    async def run(self, scenario: Scenario) -> Mapping[str, Figures]:
        """Return what the scenario's runs have shown. Raises BenchFailed when one can't be made."""
        job = self._job(scenario)
        name = scenario.names[0]
        match scenario.kind:
            case Kind.NOOP:
                return {name: await run_noop(self.stack, self.options, job)}
            case Kind.COPY:
                seed = self.options.seed * 1_000 + self.round_no
                return {name: await run_copy(self.stack, self.options, seed)}
            case Kind.HANDWRITTEN:
                return {name: await run_handwritten(self.stack, self.options, job)}
            case Kind.BACKLOG:
                return await self._run_backlog(job)
            case Kind.END_TO_END:
                return {name: await self._run_end_to_end(job)}

    def _job(self, scenario: Scenario) -> LoadJob:
        host, port = self.stack.gateway
        return LoadJob(
            host=host,
            port=port,
            api_key=self.stack.api_key,
            sellers=SELLERS,
            seed=f"{self.options.seed}/{scenario.names[0]}/{self.round_no}",
            seconds=self.options.seconds,
            connection_count=self.options.connections,
            shape=scenario.shape,
            zipf_exponent=scenario.zipf_exponent,
        )

    async def _run_end_to_end(self, job: LoadJob) -> Figures:
        """POST to settled, in a closed loop; ends when nothing is open any more."""
        stack = self.stack
        job = msgspec.structs.replace(job, held_every=self.options.held_every)
        before = await self._warm_up(job)
        settled_before = await stack.settled_count()
        async with measured(stack) as reading:
            loaded = await load(job, reading.note_generator)
            quiet_s = await stack.wait_quiet(before + loaded.accepted_count)
        settled = await stack.settled_count() - settled_before
        return reading.figures(
            payments=settled,
            seconds=quiet_s - loaded.first_sent_s,
            p50_ms=loaded.held.p50_ms,
            p99_ms=loaded.held.p99_ms,
            latency_of=f"POST to settled, of every {job.held_every}th request, which held",
            verify=await verify(stack.root),
            loaded=loaded,
            detail={
                "held": loaded.held,
                "at_once": loaded.at_once,
                "durability": reading.durability,
            },
        )

    async def _run_backlog(self, job: LoadJob) -> Mapping[str, Figures]:
        """Accept orders while hosts own nothing, then have them settle what waits."""
        stack = self.stack
        before = await self._warm_up(job)
        settled_before = await stack.settled_count()
        job = msgspec.structs.replace(
            job, requests_max=self.options.backlog_max, seconds=min(job.seconds, BACKLOG_S_MAX)
        )
        await stack.rest_hosts()
        async with measured(stack) as accepting:
            loaded = await load(job, accepting.note_generator)
        since = (await stack.stores.fetchrow("present"))["present"]
        async with measured(stack) as settling:
            started_s = await stack.work_hosts()
            quiet_s = await stack.wait_quiet(before + loaded.accepted_count)
        settled = await stack.settled_count() - settled_before
        latency = await stack.stores.fetchrow("engine_latency", since)
        verified = await verify(stack.root)
        return {
            "accept": accepting.figures(
                payments=loaded.accepted_count,
                seconds=loaded.seconds,
                p50_ms=loaded.at_once.p50_ms,
                p99_ms=loaded.at_once.p99_ms,
                latency_of="POST to 202",
                verify=verified,
                loaded=loaded,
                detail={"durability": accepting.durability},
            ),
            "engine": settling.figures(
                payments=settled,
                seconds=quiet_s - started_s,
                p50_ms=latency["p50_ms"],
                p99_ms=latency["p99_ms"],
                latency_of="intake's transaction to outcome's, of every order",
                verify=verified,
                detail={"durability": settling.durability},
            ),
        }

    async def _warm_up(self, job: LoadJob) -> int:
        """Load for a moment, and wait until it has settled; return how many orders were taken in."""
        before = await self.stack.taken_in_count()
        warm_up = msgspec.structs.replace(job, seconds=WARM_UP_S, seed=f"{job.seed}/warm-up")
        warmed = await load(warm_up)
        await self.stack.wait_quiet(before + warmed.accepted_count)
        return await self.stack.taken_in_count()
