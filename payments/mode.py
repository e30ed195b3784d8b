"""Test and live: two worlds that never meet."""

from __future__ import annotations

from enum import IntEnum


class Mode(IntEnum):
    """Whether money is real. Part of every order's identity. Stored; never renumber."""

    TEST = 1
    LIVE = 2

    # As the integer that it equals: Enum's own hash is that of its name, and is not done in C.
    __hash__ = int.__hash__

    @property
    def wire(self) -> str:
        """The word outside: in API keys, stream entries and the order's identity."""
        return "test" if self is Mode.TEST else "live"

    @classmethod
    def parse(cls, wire: str) -> Mode | None:
        """Return the mode of its word, or None when it is no mode."""
        return {"test": cls.TEST, "live": cls.LIVE}.get(wire)
