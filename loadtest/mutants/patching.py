"""What mutants are made of: a name, what is wrong, and how it gets in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One defect. ``put_in`` changes modules of the present process for good."""

    name: str
    defect: str
    """What it does wrong, in words for the report."""
    breaks: tuple[str, ...]
    """The invariants that it breaks, by number, such as ``I1``; which of them is seen depends on the faults."""
    mix: str
    """The mix of faults under which it shows."""
    put_in: Callable[[], None]


class MutantOutdated(Exception):
    """The place that a mutant changes is not there any more: the mutant must follow the product."""


def replace_attribute(owner: object, name: str, value: object) -> None:
    """Put ``value`` in place of a function, method or constant. Raises MutantOutdated where there is none."""
    if not hasattr(owner, name):
        raise MutantOutdated(f"{owner!r} has no {name}")
    setattr(owner, name, value)


def replace_text(text: str, old: str, new: str) -> str:
    """Return a statement or script with one part changed. Raises MutantOutdated unless it occurs once."""
    if text.count(old) != 1:
        raise MutantOutdated(f"{old!r} occurs {text.count(old)} times")
    return text.replace(old, new)
