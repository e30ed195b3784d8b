"""The named runs: what each one is, which are compared, and what must be reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from loadtest.bench.generator.job import Shape
from ops.compiled.form import INTERPRETED_VARIABLE, Form, present_form

IN_PROCESS = "in_process"
SIMULATOR = "simulator"


class Kind(StrEnum):
    """What is measured, and how."""

    NOOP = "noop"
    COPY = "copy"
    HANDWRITTEN = "handwritten"
    BACKLOG = "backlog"
    """Orders are accepted while no host works (`accept`), then settled (`engine`)."""
    END_TO_END = "end_to_end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One thing that is run; most yield one named run, a backlog yields two."""

    names: tuple[str, ...]
    kind: Kind
    shape: Shape = Shape.UNIFORM
    zipf_exponent: float = 1.0
    psp: str = IN_PROCESS


# In the order in which they are run: what is compared stands side by side, so that both see the same minute of a
# machine whose neighbours come and go.
SCENARIOS: Sequence[Scenario] = (
    Scenario(names=("noop",), kind=Kind.NOOP),
    Scenario(names=("accept", "engine"), kind=Kind.BACKLOG),
    Scenario(names=("copy",), kind=Kind.COPY),
    Scenario(names=("handwritten_uniform",), kind=Kind.HANDWRITTEN),
    Scenario(names=("e2e_uniform",), kind=Kind.END_TO_END),
    Scenario(names=("handwritten_hot",), kind=Kind.HANDWRITTEN, shape=Shape.ONE),
    Scenario(names=("e2e_hot",), kind=Kind.END_TO_END, shape=Shape.ONE),
    Scenario(names=("e2e_zipf_1",), kind=Kind.END_TO_END, shape=Shape.ZIPF),
    Scenario(names=("e2e_zipf_2",), kind=Kind.END_TO_END, shape=Shape.ZIPF, zipf_exponent=2.0),
    Scenario(names=("e2e_psp",), kind=Kind.END_TO_END, psp=SIMULATOR),
)

RUN_NAMES: Sequence[str] = tuple(name for scenario in SCENARIOS for name in scenario.names)

GROWTH = "growth"
"""The name of the memory and growth probe: it is run alone."""

# Names that stand for several.
GROUPS: Mapping[str, Sequence[str]] = {
    "e2e_zipf": ("e2e_zipf_1", "e2e_zipf_2"),
    "handwritten": ("handwritten_uniform", "handwritten_hot"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One run's rate as a multiple of another's, and the least that it has to be."""

    run: str
    to: str
    floor: float | None = None

    @property
    def name(self) -> str:
        return f"{self.run}/{self.to}"


RATIOS: Sequence[Ratio] = (
    Ratio(run="e2e_uniform", to="handwritten_uniform", floor=2.0),
    Ratio(run="e2e_hot", to="handwritten_hot", floor=4.0),
    Ratio(run="accept", to="noop", floor=0.3),
    Ratio(run="engine", to="copy"),
    Ratio(run="e2e_uniform", to="engine"),
    Ratio(run="e2e_hot", to="e2e_uniform"),
    Ratio(run="handwritten_hot", to="handwritten_uniform"),
)

RATE_FLOORS: Mapping[str, float] = {"e2e_psp": 1_500.0}
"""Run -> payments settled a second."""

SHORT_FORM = "short form: shows that it works, compares nothing"
"""What stands above results of ``--short``, whose floors are not judged."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How the runs are made. Written into the results."""

    repeat: int = 1
    seed: int = 1
    seconds: float = 8.0
    """How long each run is loaded. What settles after the load ended counts as time, too: some tenths of a second,
    which are a smaller part of a longer run; and noise that comes and goes within seconds is.
    """
    connections: int = 256
    """So many that twice as many gain no more than a few per cent, whichever the run (docs/benchmarks.md): a service
    that works in batches needs more payments under way for that than one that takes them one by one.
    """
    held_every: int = 16
    """End to end, every n-th request of a connection holds until it has settled. It gives the
    latencies, and it bounds the backlog: a connection runs ahead by n - 1 orders at most.
    """
    gateways: int = 1
    hosts: int = 1
    """Two cores have no room for more: more processes only make the batches of each smaller."""
    is_ray_used: bool = True
    is_interpreted: bool = False
    """Whether the compiled form of the code is left aside, also where there is one."""
    pool_sizes: tuple[int, ...] = (8, 16, 32)
    """Connections that the handwritten service has in all; the best counts."""
    backlog_max: int = 12_000
    """Orders preloaded for `engine`."""
    is_short: bool = False

    @property
    def environment(self) -> Mapping[str, str]:
        """What the stack is started with."""
        return {INTERPRETED_VARIABLE: "1"} if self.is_interpreted else {}

    @property
    def form(self) -> Form:
        """The form of the code that is measured; what baselines share with it is the same."""
        return present_form(self.environment)


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for, in the order in which it is run."""

    names: frozenset[str]
    scenarios: Sequence[Scenario] = field(default=())

    @classmethod
    def of(cls, wanted: Sequence[str]) -> Plan:
        """Resolve names and groups; none means all."""
        names = frozenset(name for one in wanted or RUN_NAMES for name in GROUPS.get(one, (one,)))
        return cls(names, [one for one in SCENARIOS if names & set(one.names)])

    def of_psp(self, psp: str) -> list[Scenario]:
        """Those that share a stack, because the PSP is a matter of its configuration."""
        return [scenario for scenario in self.scenarios if scenario.psp == psp]
