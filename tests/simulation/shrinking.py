"""Makes a failing script shorter: leaves out faults, operations and unusual knobs, as long as it still fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec

from tests.simulation.script import Knobs, Script

T = TypeVar("T")

# A run takes a fraction of a second; beyond a minute or two a shorter script is worth no more waiting.
RUNS_MAX = 300


def shrink(
    script: Script, still_fails: Callable[[Script], bool], *, runs_max: int = RUNS_MAX
) -> Script:
    """Return the shortest script found greedily that still fails. ``script`` itself must."""
    runs_left = runs_max
    while runs_left > 0:
        for candidate in _shorter(script):
            runs_left -= 1
            if still_fails(candidate):
                script = candidate
                break
            if runs_left <= 0:
                return script
        else:
            return script
    return script


def _shorter(script: Script) -> Iterator[Script]:
    for faults in _without_parts(script.faults):
        yield msgspec.structs.replace(script, faults=faults)
    for operations in _without_parts(script.operations):
        yield msgspec.structs.replace(script, operations=operations)
    usual = Knobs()
    for name in Knobs.__struct_fields__:
        if getattr(script.knobs, name) != getattr(usual, name):
            knobs = msgspec.structs.replace(script.knobs, **{name: getattr(usual, name)})
            yield msgspec.structs.replace(script, knobs=knobs)


def _without_parts(items: Sequence[T]) -> Iterator[tuple[T, ...]]:
    """Leave out halves first, then quarters, down to single items."""
    size = len(items) // 2 or len(items)
    while size:
        for start in range(0, len(items), size):
            yield (*items[:start], *items[start + size :])
        size //= 2
