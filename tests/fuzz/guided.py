"""A small coverage-guided fuzzer: inputs that reach something new are kept, and changed further.

Coverage is which line follows which within the watched files, as ``sys.settrace`` tells it; that is all
the guidance a decoder of some hundred lines needs. Everything hangs on the seed, so a run is repeatable.
"""

from __future__ import annotations

import random
import sys
import tracemalloc
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any, Generic, TypeVar

T = TypeVar("T")

Jump = tuple[CodeType, int, int]
"""In this code, the second line came after the first (0 at its beginning)."""

# What a decoder may take for each byte of its input: deep JSON needs some fifty (a list for a bracket).
MEMORY_FACTOR_MAX = 100
MEMORY_BYTES_MIN = 1024 * 1024


class PromiseBroken(AssertionError):
    """An input was answered with something else than the target's contract allows."""

    def __init__(self, given: object, why: str) -> None:
        super().__init__(f"{why}\ninput: {given!r}")
        self.given = given


@dataclass(slots=True)
class Findings(Generic[T]):
    """What a run has seen."""

    input_count: int = 0
    jumps: set[Jump] = field(default_factory=set)
    corpus: list[T] = field(default_factory=list)
    """The inputs that reached something new, in the order in which they were found."""
    results: set[str] = field(default_factory=set)
    """What the target said of the inputs, in its own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(Generic[T]):
    """What is fuzzed."""

    files: Collection[str]
    """The files whose lines count."""
    check: Callable[[T], str]
    """Run one input and return what became of it; anything raised is a broken promise."""
    change: Callable[[random.Random, T, Sequence[T]], T]
    """Return an input changed a little; the others may lend it parts."""
    size_bytes: Callable[[T], int]


def fuzz(
    target: Target[T], seeds: Sequence[T], *, seed: int, is_over: Callable[[Findings[T]], bool]
) -> Findings[T]:
    """Try the seeds, then changed inputs, until it is over. Raises PromiseBroken."""
    chance = random.Random(seed)
    found: Findings[T] = Findings()
    for given in seeds:
        _try(target, given, found)
    while not is_over(found):
        # The newest finds are nearest to what nobody reached yet; the older ones keep their turn.
        recent = found.corpus[-8:] if chance.random() < 0.5 else found.corpus
        changed = target.change(chance, chance.choice(recent), found.corpus)
        while chance.random() < 0.5:
            changed = target.change(chance, changed, found.corpus)
        _try(target, changed, found)
    return found


def _try(target: Target[T], given: T, found: Findings[T]) -> None:
    jumps: set[Jump] = set()
    memory_max = MEMORY_BYTES_MIN + MEMORY_FACTOR_MAX * target.size_bytes(given)
    with _peak_watched() as peak_bytes:
        try:
            with _traced(target.files, jumps):
                result = target.check(given)
        except Exception as wrong:
            raise PromiseBroken(given, f"{type(wrong).__name__}: {wrong}") from wrong
        if (peak := peak_bytes()) > memory_max:
            raise PromiseBroken(given, f"{peak} bytes of memory, of {memory_max}")
    found.input_count += 1
    if not jumps <= found.jumps:
        found.jumps |= jumps
        found.corpus.append(given)
    found.results.add(result)


@contextmanager
def _peak_watched() -> Iterator[Callable[[], int]]:
    """Yield a function that tells how much memory was taken since, at most."""
    is_ours = not tracemalloc.is_tracing()
    if is_ours:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        yield lambda: tracemalloc.get_traced_memory()[1] - before
    finally:
        if is_ours:
            tracemalloc.stop()


@contextmanager
def _traced(files: Collection[str], jumps: set[Jump]) -> Iterator[None]:
    """Note the jumps within these files; whoever traced before does so again afterwards."""

    def on_call(frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        if event != "call" or code.co_filename not in files:
            return None
        last = 0

        def on_line(frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
            nonlocal last
            if event == "line":
                jumps.add((code, last, frame.f_lineno))
                last = frame.f_lineno
            return on_line

        return on_line

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        yield
    finally:
        sys.settrace(before)
