"""Sizes as people read them: the same in every command, and in the units of the documentation."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB")


def size_text(count: float) -> str:
    """Return a number of bytes, in steps of a thousand; from a megabyte on with one decimal below ten."""
    step = 0
    while count >= 999.5 and step < len(_UNITS) - 1:
        count /= 1_000
        step += 1
    decimals = 1 if step >= _UNITS.index("MB") and count < 9.95 else 0
    return f"{count:.{decimals}f} {_UNITS[step]}"
