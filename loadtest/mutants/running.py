"""Trying mutants: one run of ``tally chaos`` each, and what became of it.

A mutant is caught when the run finds a violation. That says something only if the product without a
defect passes the same run, so each mix is run once without one first: the control.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from loadtest.mutants.patching import Mutant
from runtime.mutation import MUTANT_VARIABLE, TEST_STACK_VARIABLE

# What ``tally chaos`` ends with.
EXIT_VALID = 0
EXIT_VIOLATED = 1

# Beside the minutes of faults a run starts a stack, hits each cell once, and waits until all is quiet.
RUN_EXTRA_S = 1_200.0
# A run that was interrupted still ends its servers.
INTERRUPTED_S = 120.0

_INVARIANT = re.compile(r"\bI(?:[1-9]|1\d|2[0-8])\b", re.ASCII)
_NAME_MEMBERS = ("invariant", "number", "name", "id")


class Outcome(StrEnum):
    """What became of one mutant."""

    CAUGHT = "caught"
    MISSED = "missed"
    VOID = "void"
    """The run, or its control, came to no verdict: nothing is shown."""


class ChaosRun(NamedTuple):
    """How one child ended. ``exit_code`` is None for one that had to be stopped."""

    exit_code: int | None
    document: Mapping[str, Any] | None
    """What it printed, None when that was no JSON object."""


RunChaos = Callable[[str, str | None], ChaosRun]
"""Takes a mix and a mutant's name, None for the control."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One mutant's result. ``seen_by``: the invariants violated, and ``verify`` for the books' own word."""

    mutant: Mutant
    outcome: Outcome
    seen_by: tuple[str, ...] = ()
    reason: str = ""
    """Why it is void, or what the run said of the violation."""


def try_mutants(
    mutants: Sequence[Mutant], run: RunChaos, *, has_controls: bool
) -> Iterator[Result]:
    """Run each mutant, and each mix without one before its first mutant."""
    refused: dict[str, str] = {}
    for mutant in mutants:
        mix = mutant.mix
        if mix not in refused:
            refused[mix] = _refusal(run(mix, None)) if has_controls else ""
        if refused[mix]:
            reason = f"without a defect the mix {mix} is not valid: {refused[mix]}"
            yield Result(mutant=mutant, outcome=Outcome.VOID, reason=reason)
        else:
            yield judged(mutant, run(mix, mutant.name))


def judged(mutant: Mutant, run: ChaosRun) -> Result:
    """Say what a run with a mutant shows."""
    if run.exit_code == EXIT_VALID:
        return Result(mutant=mutant, outcome=Outcome.MISSED)
    if run.exit_code != EXIT_VIOLATED or run.document is None:
        return Result(mutant=mutant, outcome=Outcome.VOID, reason=_how_it_ended(run))
    # Also a command that failed for a reason of its own may end with 1.
    if run.document.get("verdict") != "violated":
        reason = f"exit code 1 with the verdict {run.document.get('verdict')!r}"
        return Result(mutant=mutant, outcome=Outcome.VOID, reason=reason)
    reasons = _texts(run.document.get("reasons"))
    return Result(
        mutant=mutant,
        outcome=Outcome.CAUGHT,
        seen_by=seen_by(run.document),
        reason=reasons[0] if reasons else "",
    )


def seen_by(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the invariants that a document calls violated, in the order of their numbers."""
    found = set(_violated(document))
    for text in _texts(document.get("reasons")):
        found.update(_INVARIANT.findall(text))
    verify = document.get("verify")
    checks = verify.get("checks") if isinstance(verify, Mapping) else None
    failed = [c for c in checks or () if isinstance(c, Mapping) and _has_violations(c)]
    books = ("verify",) if failed else ()
    return (*sorted(found, key=lambda name: int(name[1:])), *books)


class ChaosCommand:
    """Runs ``tally chaos`` as a child, with a defect in its gateways and hosts."""

    def __init__(
        self,
        *,
        seed: int,
        minutes: float,
        environment: Mapping[str, str],
        command: Sequence[str] = (sys.executable, "-P", "-m", "ops.cli", "chaos"),
    ) -> None:
        self._arguments = (*("--seed", str(seed)), *("--minutes", f"{minutes:g}"), "--json")
        self._seconds_max = minutes * 60 + RUN_EXTRA_S
        self._environment = environment
        self._command = command

    def __call__(self, mix: str, mutant_name: str | None) -> ChaosRun:
        """Run it to its end. What it says about its progress goes to stderr."""
        environment = dict(self._environment)
        environment.pop(MUTANT_VARIABLE, None)
        environment[TEST_STACK_VARIABLE] = "1"
        if mutant_name is not None:
            environment[MUTANT_VARIABLE] = mutant_name
        arguments = [*self._command, "--mix", mix, *self._arguments]
        with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE) as child:
            try:
                printed, _ = child.communicate(timeout=self._seconds_max)
            except subprocess.TimeoutExpired:
                _stop(child)
                return ChaosRun(None, None)
            except BaseException:
                _stop(child)
                raise
        return ChaosRun(child.returncode, _object(printed))


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Have the run end its own servers, and kill it only if it does not."""
    os.kill(child.pid, signal.SIGINT)
    try:
        child.communicate(timeout=INTERRUPTED_S)
    except subprocess.TimeoutExpired:
        child.kill()


def _object(printed: bytes) -> Mapping[str, Any] | None:
    try:
        document = msgspec.json.decode(printed)
    except msgspec.DecodeError:
        return None
    return document if isinstance(document, dict) else None


def _refusal(run: ChaosRun) -> str:
    """Why a control proves nothing; empty when it is valid."""
    return "" if run.exit_code == EXIT_VALID else _how_it_ended(run)


def _how_it_ended(run: ChaosRun) -> str:
    if run.exit_code is None:
        return "the run did not end"
    reasons = _texts(run.document.get("reasons")) if run.document is not None else []
    return "; ".join([f"exit code {run.exit_code}", *reasons[:3]])


def _violated(node: object, name: str | None = None) -> Iterator[str]:
    """Find invariants with violations anywhere in a document: named by a member, or by where they stand."""
    if isinstance(node, Mapping):
        named = next((node[member] for member in _NAME_MEMBERS if member in node), name)
        if isinstance(named, str) and _INVARIANT.fullmatch(named) and _has_violations(node):
            yield named
        for key, value in node.items():
            yield from _violated(value, key if isinstance(key, str) else None)
    elif isinstance(node, list):
        for item in node:
            yield from _violated(item)


def _has_violations(node: Mapping[str, object]) -> bool:
    return bool(node.get("violated") or node.get("violations") or node.get("violated_count"))


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
