"""Trying mutants: the simulation first, since it is cheap; real servers with one fault where it shows nothing.

A mutant is caught when a run finds a violation. That says something only if the product without a
defect passes the same: all seeds up to the last that showed a mutant, and each scenario on servers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec

from loadtest.mutants.children import Scenario, scenario_of
from loadtest.mutants.outcomes import Outcome, Run, Where
from loadtest.mutants.patching import Mutant
from loadtest.mutants.remembering import Memory

Simulate = Callable[[str | None, int | None], Run]
"""Takes a mutant's name; or None, and how many seeds are to hold without one."""
RunServers = Callable[[Scenario, str | None], Run]
"""Takes a mutant's name, None for the control."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One mutant's last run, which is the one that caught it, if any did."""

    mutant: Mutant
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Everything that came out. ``controls``: runs without a defect."""

    results: Sequence[Result]
    controls: Sequence[Run]

    @property
    def caught_count(self) -> int:
        return sum(result.run.outcome is Outcome.CAUGHT for result in self.results)

    @property
    def is_passed(self) -> bool:
        """Whether every mutant was caught, and no control showed anything."""
        are_clean = all(is_clean(control) for control in self.controls)
        return are_clean and self.caught_count == len(self.results)


@dataclass(slots=True, kw_only=True)
class Trying:
    """One trial. ``simulate`` is None where the simulation is left out."""

    simulate: Simulate | None
    run_servers: RunServers | None
    settings: Mapping[Where, Mapping[str, object]]
    """What runs depend on beside mutant and scenario, so that a kept run is the same."""
    memory: Memory
    has_controls: bool
    tell: Tell
    _controls: dict[str, Run] = field(default_factory=dict)

    def run(self, mutants: Sequence[Mutant]) -> Trial:
        """Try each mutant."""
        found = {mutant.name: run for mutant, run in self._simulated(mutants)}
        for mutant in sorted(mutants, key=lambda each: str(scenario_of(each))):
            if self.run_servers is None:
                break
            if mutant.name in found and found[mutant.name].outcome is Outcome.CAUGHT:
                continue
            found[mutant.name] = self._on_servers(mutant, self.run_servers)
        results = [
            Result(mutant=mutant, run=found.get(mutant.name, _NOT_TRIED)) for mutant in mutants
        ]
        return Trial(results=results, controls=list(self._controls.values()))

    def _simulated(self, mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, Run]]:
        if self.simulate is None:
            return
        simulate, found = self.simulate, list[tuple[Mutant, Run]]()
        for mutant in mutants:
            if mutant.is_simulated:
                make = partial(simulate, mutant.name, None)
                run = self._once(Where.SIMULATION, {"mutant": mutant.name}, make, _is_caught)
                self._say(mutant.name, run)
                found.append((mutant, run))
        seeds = max((run.seed_count for _, run in found if _is_caught(run)), default=0)
        refusal = self._control_of_seeds(simulate, seeds) if seeds and self.has_controls else ""
        for mutant, run in found:
            yield mutant, _void(run, refusal) if refusal and _is_caught(run) else run

    def _control_of_seeds(self, simulate: Simulate, seeds: int) -> str:
        what = {"mutant": None, "control_seeds": seeds}
        control = self._once(Where.SIMULATION, what, lambda: simulate(None, seeds), is_clean)
        return self._noted(control)

    def _on_servers(self, mutant: Mutant, run_servers: RunServers) -> Run:
        scenario = scenario_of(mutant)
        given = {"mix": scenario.mix, "cells": scenario.cells}
        if self.has_controls:
            refusal = self._control_of(scenario, given, run_servers)
            if refusal:
                return _void(_NOT_TRIED, refusal)
        what = {"mutant": mutant.name, **given}
        run = self._once(
            Where.SERVERS, what, lambda: run_servers(scenario, mutant.name), _is_caught
        )
        self._say(mutant.name, run)
        return run

    def _control_of(
        self, scenario: Scenario, given: Mapping[str, object], run_servers: RunServers
    ) -> str:
        known = self._controls.get(str(scenario))
        if known is not None:
            return _refusal(known)
        what = {"mutant": None, **given}
        control = self._once(Where.SERVERS, what, lambda: run_servers(scenario, None), is_clean)
        return self._noted(control)

    def _once(
        self,
        where: Where,
        what: Mapping[str, object],
        make: Callable[[], Run],
        is_kept: Callable[[Run], bool],
    ) -> Run:
        whole = {"where": where.value, **what, **self.settings[where]}
        return self.memory.once(whole, make, is_kept=is_kept)

    def _noted(self, control: Run) -> str:
        self._controls[control.scenario] = control
        self._say("no defect", control)
        return _refusal(control)

    def _say(self, name: str, run: Run) -> None:
        word = (
            run.outcome.value if name != "no defect" else "clean" if is_clean(run) else "not clean"
        )
        seen = ", ".join(run.seen_by) or run.reason
        self.tell(f"{name}: {word} in {run.where}, {run.scenario}{f' ({seen})' if seen else ''}")


_NOT_TRIED = Run(outcome=Outcome.VOID, where=Where.SERVERS, scenario="", reason="it was not tried")


def is_clean(run: Run) -> bool:
    """Whether a run without a defect showed none, which is what it is for."""
    return run.outcome is Outcome.MISSED


def _is_caught(run: Run) -> bool:
    return run.outcome is Outcome.CAUGHT


def _refusal(control: Run) -> str:
    """Why what a control stands for shows nothing; empty when it was clean."""
    if is_clean(control):
        return ""
    return f"without a defect {control.scenario} is not clean: {control.reason}"


def _void(run: Run, reason: str) -> Run:
    return msgspec.structs.replace(run, outcome=Outcome.VOID, seen_by=(), reason=reason)
