"""Deliberate defects of the product, to test what checks it: each is one that a good engineer might make.

A process whose environment names one (``runtime.mutation``) has it put in before it builds anything.
They are patches from outside, so that the product's own code holds no wrong branch; a patch whose place
is gone fails at once, since a mutant that changes nothing proves nothing.
"""

from __future__ import annotations

from loadtest.mutants.catalogue import MUTANTS


def apply(name: str) -> None:
    """Put the mutant of this name into the present process. Raises KeyError for one that is unknown."""
    MUTANTS[name].put_in()
