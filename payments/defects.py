"""Our own bugs, told apart from refusals (values) and faults (the outside failed)."""

from __future__ import annotations

from typing import TypeVar

Fault = TypeVar("Fault", bound=BaseException)


class InvariantViolation(Exception):
    """A rule of the books or of the code was broken. Stops the partition; never caught below the supervisor."""


class ContentDefect(InvariantViolation):
    """A defect that lies in what was to be decided or stored, not in the books: perhaps one entry's own.

    Nothing was changed. Whoever has several entries may try each alone.
    """


def caused_by(fault: Fault, cause: BaseException | None) -> Fault:
    """Return the fault as ``raise fault from cause`` raises it: machine code drops that clause (CONTRIBUTING.md)."""
    fault.__cause__ = cause
    return fault
