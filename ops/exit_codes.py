"""What the exit code of a command means; docs/operations.md lists them for scripts."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    """Refused, declined, or something broke; the text on stderr says what to do."""
    USAGE = 2
    """The command line or a variable is wrong. Click uses this number too."""
    NOT_RUNNING = 3
    """The stack doesn't run, or is not healthy."""
    UNDECIDED = 4
    """Accepted, but its outcome is not known yet: ask again later."""
