"""What every fault is."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from loadtest.chaos.cells import Cell
from loadtest.chaos.stack import ChaosStack

Detail = Mapping[str, Any]
"""What was done exactly, for the log: names, numbers, no secrets."""


class Fault(Protocol):
    """One fault at one stack. ``begin`` is called once; ``heal`` always follows it, also after a failure."""

    async def begin(self) -> Detail:
        """Make it. Raises NotPossible when it can't be made here and now."""
        ...

    async def heal(self) -> Detail:
        """Take it away, and wait, bounded, until what it hit is back."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a fault works with."""

    cell: Cell
    stack: ChaosStack
    draw: random.Random
