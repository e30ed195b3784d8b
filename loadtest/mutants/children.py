"""The two commands that try a mutant: the simulation, and ``tally chaos`` with one fault. Each has its time."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loadtest.mutants.outcomes import (
    ChaosRun,
    Outcome,
    Run,
    Where,
    how_it_ended,
    in_order,
    judged,
)
from loadtest.mutants.patching import Mutant
from runtime.mutation import MUTANT_VARIABLE, TEST_STACK_VARIABLE

# Some hundred seeds take a minute; on a machine that is busy with other things several.
SIMULATION_S_MAX = 1_200.0
# Beside its faults a run starts a stack, waits until all is quiet (two minutes at most), reads all, and checks.
RUN_EXTRA_S = 400.0
# A whole mix hits each of its cells once, however long that takes.
MIX_EXTRA_S = 1_200.0
# A run that was interrupted still ends its servers.
INTERRUPTED_S = 120.0

_ROOT = Path(__file__).parents[2]


def has_simulation() -> bool:
    """Whether the simulation is there: it is part of the checkout, not of the package."""
    try:
        return importlib.util.find_spec("tests.simulation") is not None
    except ModuleNotFoundError:
        return False


class _Told(msgspec.Struct, frozen=True):
    """What ``python -m tests.simulation --json`` prints."""

    seeds: int
    seed: int | None = None
    violated: tuple[str, ...] = ()
    what: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Runs seeds from the first on, until one shows the mutant."""

    seeds_max: int
    environment: Mapping[str, str]
    command: Sequence[str] = (sys.executable, "-m", "tests.simulation")
    seconds_max: float = SIMULATION_S_MAX

    def __call__(self, mutant_name: str | None, seeds: int | None = None) -> Run:
        """Try a mutant; or, without one, ``seeds`` seeds, each twice, none of which must show anything."""
        count = self.seeds_max if seeds is None else seeds
        named = () if mutant_name is None else ("--mutant", mutant_name)
        began_s = time.monotonic()
        printed = _printed(
            [*self.command, *named, "--seeds", str(count), "--json"],
            _sound(self.environment),
            self.seconds_max,
        )
        seconds = round(time.monotonic() - began_s, 1)
        try:
            told = msgspec.json.decode(printed.output, type=_Told)
        except msgspec.MsgspecError:
            reason = (
                "it did not end" if printed.exit_code is None else f"exit code {printed.exit_code}"
            )
            return _simulated(Outcome.VOID, f"seeds below {count}", seconds, reason=reason)
        if told.seed is None:
            return _simulated(
                Outcome.MISSED, f"seeds below {count}", seconds, seed_count=told.seeds
            )
        seen = in_order(set(told.violated))
        return _simulated(
            Outcome.CAUGHT if seen else Outcome.VOID,
            f"seed {told.seed}",
            seconds,
            seen_by=seen,
            reason=told.what,
            seed_count=told.seed + 1,
        )


def _simulated(
    outcome: Outcome,
    scenario: str,
    seconds: float,
    *,
    seen_by: tuple[str, ...] = (),
    reason: str = "",
    seed_count: int = 0,
) -> Run:
    return Run(
        outcome=outcome,
        where=Where.SIMULATION,
        scenario=scenario,
        seen_by=seen_by,
        reason=reason,
        seconds=seconds,
        seed_count=seed_count,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What happens in a run on servers: a mix, or the named cells of it alone."""

    mix: str
    cells: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " and ".join(self.cells) or (
            "load alone" if self.mix == "none" else f"mix {self.mix}"
        )


def scenario_of(mutant: Mutant) -> Scenario:
    """Return the faults that a mutant needs."""
    return Scenario(mix=mutant.mix, cells=mutant.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Runs ``tally chaos``, with a defect in its gateways and hosts, or with none."""

    seed: int
    minutes: float
    environment: Mapping[str, str]
    command: Sequence[str] = (sys.executable, "-P", "-m", "ops.cli", "chaos")

    def __call__(self, scenario: Scenario, mutant_name: str | None) -> Run:
        """Run it to its end. What it says about its progress goes to stderr."""
        environment = _sound(self.environment)
        environment[TEST_STACK_VARIABLE] = "1"
        if mutant_name is not None:
            environment[MUTANT_VARIABLE] = mutant_name
        arguments = [
            "--mix",
            scenario.mix,
            "--seed",
            str(self.seed),
            "--minutes",
            f"{self.minutes:g}",
        ]
        for cell in scenario.cells:
            arguments += ["--cell", cell]
        is_short = scenario.cells or scenario.mix == "none"
        extra_s = RUN_EXTRA_S if is_short else MIX_EXTRA_S
        began_s = time.monotonic()
        printed = _printed(
            [*self.command, *arguments, "--json"], environment, self.minutes * 60 + extra_s
        )
        run = ChaosRun(printed.exit_code, _object(printed.output))
        seconds = round(time.monotonic() - began_s, 1)
        shown = judged(run, str(scenario), seconds)
        if mutant_name is None and shown.outcome is Outcome.CAUGHT:
            # Of a control, what the checker says besides is what matters.
            return msgspec.structs.replace(shown, reason=how_it_ended(run))
        return shown


@dataclass(frozen=True, slots=True)
class _Printed:
    exit_code: int | None
    output: bytes


def _sound(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without a defect, also where our own process has one."""
    return {name: value for name, value in environment.items() if name != MUTANT_VARIABLE}


def _printed(
    arguments: Sequence[str], environment: Mapping[str, str], seconds_max: float
) -> _Printed:
    """Run a child to its end, or stop it after its time."""
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, cwd=_ROOT) as child:
        try:
            output, _ = child.communicate(timeout=seconds_max)
        except subprocess.TimeoutExpired:
            _stop(child)
            return _Printed(None, b"")
        except BaseException:
            _stop(child)
            raise
    return _Printed(child.returncode, output)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Have the run end its own servers, and kill it only if it does not."""
    # Not SIGINT: whatever a shell started in the background ignores that, its children too.
    child.terminate()
    try:
        child.communicate(timeout=INTERRUPTED_S)
    except subprocess.TimeoutExpired:
        child.kill()


def _object(printed: bytes) -> dict[str, object] | None:
    try:
        document = msgspec.json.decode(printed)
    except msgspec.DecodeError:
        return None
    return document if isinstance(document, dict) else None
