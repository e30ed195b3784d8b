"""``python -m tests.simulation``: runs seeds, each twice, and tells how to repeat the first that fails.

Ranges make it resumable: ``--first 500 --seeds 500`` goes on where 500 ended. With ``--mutant NAME``
a defect of ``loadtest.mutants`` is put in first, and the seeds end at the one that shows it.
``--json`` prints the verdict alone, for ``python -m loadtest.mutants run``.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from loadtest.mutants.catalogue import MUTANTS
from tests.simulation.adapter_mutants import put_in
from tests.simulation.checks import UNKNOWN
from tests.simulation.drawing import draw
from tests.simulation.script import FAULT_KINDS, Script
from tests.simulation.shrinking import shrink
from tests.simulation.world import Outcome, run

# Strings hash alike in every process that runs a seed.
HASH_SEED = "0"
_NUMBERED = re.compile(r"I\d+")
# A failing run's last effects, as many as fit on a few screens.
TAIL_LINES = 60


class Verdict(NamedTuple):
    """What became of one seed."""

    seed: int
    failure: str
    """Empty: everything held, twice, by the same steps."""
    violated: tuple[str, ...]
    """What does not hold, by number; ``defect`` and the like for what stopped by itself."""
    step_count: int
    order_count: int
    charge_count: int
    virtual_s: float
    applied: dict[str, int]
    undone_count: int
    tail: list[str]


def try_script(script: Script) -> Verdict:
    """Run a script twice."""
    first, second = run(script), run(script)
    gc.collect()
    return Verdict(
        seed=script.seed,
        failure=failure_of(first, second),
        violated=violated_by(first),
        step_count=first.step_count,
        order_count=first.order_count,
        charge_count=first.charge_count,
        virtual_s=first.virtual_s,
        applied=first.applied,
        undone_count=first.undone_count,
        tail=first.tail[-TAIL_LINES:] if first.violations else [],
    )


def failure_of(first: Outcome, second: Outcome) -> str:
    """Return what is wrong with two runs of one script, or nothing."""
    if first.violations:
        return "; ".join(f"{each.invariant}: {each.detail}" for each in first.violations[:3])
    if first.trace_hash != second.trace_hash:
        return "two runs of one seed took other steps"
    return ""


def violated_by(outcome: Outcome) -> tuple[str, ...]:
    """Return what does not hold, each once."""
    found = [each for each in outcome.violations if not each.detail.startswith(UNKNOWN)]
    return tuple(dict.fromkeys(violation.invariant for violation in found))


class Shown(NamedTuple):
    """What one seed with a defect shows."""

    failure: str
    violated: tuple[str, ...]

    @property
    def is_caught(self) -> bool:
        """Whether an invariant says so: that a process stopped by itself is no checker's merit."""
        return any(_NUMBERED.fullmatch(name) for name in self.violated)


def main() -> int:
    """Run what the command line asks for. Returns 1 when a seed fails."""
    arguments = _arguments()
    if arguments.replay:
        return _report(try_script(Script.from_json(arguments.replay.read_bytes())), None)
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    if arguments.mutant:
        return _try_mutant(arguments.mutant, seeds, arguments.jobs, is_json=arguments.is_json)
    started_s = time.monotonic()
    verdicts: list[Verdict] = []
    failed: list[Verdict] = []
    with _processes(arguments.jobs) as pool:
        for verdict in pool.map(_try_seed, seeds, chunksize=1):
            verdicts.append(verdict)
            if verdict.failure:
                failed.append(verdict)
                if not arguments.is_json:
                    print(f"\nseed {verdict.seed}: {verdict.failure}", flush=True)
            _show_progress(verdicts, failed, len(seeds), started_s)
    if arguments.is_json:
        first = failed[0] if failed else None
        _tell(len(seeds), first and first.seed, first and Shown(first.failure, first.violated))
        return int(bool(failed))
    _summarize(verdicts, time.monotonic() - started_s, arguments.jobs)
    if failed:
        return _report(failed[0], arguments.keep)
    return 0


def _try_mutant(name: str, seeds: range, jobs: int, *, is_json: bool) -> int:
    """Run seeds once each, with a defect, until one shows it. Returns 1 when none does."""
    with _processes(jobs, name) as pool:
        for seed, shown in zip(seeds, pool.map(_try_seed_once, seeds, chunksize=1), strict=True):
            if shown.is_caught:
                if is_json:
                    _tell(len(seeds), seed, shown)
                else:
                    print(f"{name}: caught by seed {seed}: {shown.failure}")
                return 0
    if is_json:
        _tell(len(seeds), None, None)
    else:
        print(f"{name}: not caught by {len(seeds)} seeds")
    return 1


def _tell(seed_count: int, seed: int | None, shown: Shown | None) -> None:
    found = {} if shown is None else {"violated": shown.violated, "what": shown.failure}
    print(msgspec.json.encode({"seeds": seed_count, "seed": seed, **found}).decode())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=40, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="a defect to put in")
    parser.add_argument("--replay", type=Path, help="a kept script to run instead")
    parser.add_argument("--json", dest="is_json", action="store_true", help="the verdict alone")
    parser.add_argument(
        "--keep", type=Path, default=Path("var/simulation"), help="where failing scripts are kept"
    )
    return parser.parse_args()


@contextmanager
def _processes(jobs: int, mutant: str = "") -> Iterator[ProcessPoolExecutor]:
    """Start processes that run seeds; whatever ends the work early, they run no further one."""
    with ProcessPoolExecutor(jobs, initializer=_begin, initargs=(mutant,)) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin(mutant: str = "") -> None:
    warnings.simplefilter("ignore")
    if mutant:
        put_in(mutant)
    # What is loaded by now never becomes garbage: later collections are short.
    gc.collect()
    gc.freeze()


def _try_seed(seed: int) -> Verdict:
    return try_script(draw(seed))


def _try_seed_once(seed: int) -> Shown:
    try:
        outcome = run(draw(seed))
    except Exception as error:  # whatever a defect ends a run with
        return Shown(f"the run ended: {error!r}", ())
    return Shown(failure_of(outcome, outcome), violated_by(outcome))


def _show_progress(
    verdicts: list[Verdict], failed: list[Verdict], seed_count: int, started_s: float
) -> None:
    done = len(verdicts)
    took_s = time.monotonic() - started_s
    if sys.stderr.isatty() or done % 50 == 0 or done == seed_count:
        left_s = took_s / done * (seed_count - done)
        line = f"{done} of {seed_count} seeds, {len(failed)} failed, {left_s:.0f} s left"
        print(f"\r{line}  ", end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)


def _summarize(verdicts: list[Verdict], took_s: float, jobs: int) -> None:
    applied: Counter[str] = Counter()
    for verdict in verdicts:
        applied.update(verdict.applied)
    print(
        f"\n{len(verdicts)} seeds, each twice, in {took_s:.1f} s on {jobs} processes:"
        f" {sum(v.order_count for v in verdicts)} orders,"
        f" {sum(v.charge_count for v in verdicts)} charges,"
        f" {applied.total()} faults, {sum(v.step_count for v in verdicts)} steps,"
        f" {sum(v.virtual_s for v in verdicts) / 60:.0f} simulated minutes."
    )
    print(", ".join(f"{kind} {applied[kind]}" for kind in FAULT_KINDS))
    undone_count = sum(v.undone_count for v in verdicts)
    print(f"commits shown after a start in place, and undone by a promotion: {undone_count}")


def _report(verdict: Verdict, keep: Path | None) -> int:
    """Tell how a seed failed, shorten its script, and keep it."""
    if not verdict.failure:
        print("everything held")
        return 0
    print("\n".join(verdict.tail))
    print(f"seed {verdict.seed}: {verdict.failure}")
    print(f"repeat it: make sim FIRST={verdict.seed} SEEDS=1")
    if keep is not None:
        invariant = verdict.failure.partition(":")[0]
        short = shrink(
            draw(verdict.seed), lambda s: any(v.invariant == invariant for v in run(s).violations)
        )
        keep.mkdir(parents=True, exist_ok=True)
        path = keep / f"seed-{verdict.seed}.json"
        path.write_bytes(short.to_json())
        print(
            f"a shorter script, {len(short.operations)} requests and {len(short.faults)} faults:"
            f" python -m tests.simulation --replay {path}"
        )
    return 1


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": HASH_SEED},
        )
    sys.exit(main())
