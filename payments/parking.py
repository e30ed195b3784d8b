"""Why an open order rests: nothing is tried for it until its reason is gone."""

from __future__ import annotations

from enum import IntEnum


class ParkReason(IntEnum):
    """Stored; never renumber."""

    PSP_DOWN = 1
    """The circuit breaker of its PSP is open, and no other PSP may take it."""

    @property
    def wire(self) -> str:
        """How people and programs are told."""
        return self.name.lower()
