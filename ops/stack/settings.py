"""What one local stack is made of, as the command line and the environment say."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ops.compiled.form import INTERPRETED_VARIABLE
from runtime.mutation import MUTANT_VARIABLE, TEST_STACK_VARIABLE

HOME_DEFAULT = "var"

HOME_VARIABLE = "TALLY_HOME"
PORT_BASE_VARIABLE = "TALLY_PORT_BASE"

# What the processes of a stack get to see of the environment of whoever ran `tally up`.
_PASSED_NAMES = frozenset(
    {
        "HOME",
        "TALLY_CRASH_AT",
        "TALLY_CRASH_FILE",
        "TALLY_CRASH_ON",
        "TALLY_CRASH_ORDER",
        "TALLY_FREEZE_AT",
        "TALLY_RAISE_ON",
        INTERPRETED_VARIABLE,
        MUTANT_VARIABLE,
        TEST_STACK_VARIABLE,
        # Another allocator, or the library of `tally chaos` that shifts clocks, with its table.
        "LD_PRELOAD",
        "TALLY_CLOCK_TABLE",
    }
)
_PASSED_PREFIX = "TALLY__"

# Names below the base must stay ports: the base plus all offsets, and no privileged ones.
PORT_BASE_MIN = 1_024
PORT_BASE_MAX = 65_000


class StackSettingsInvalid(ValueError):
    """A variable or option can't be used. Says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSettings:
    """Where a stack lives, on which ports, and how its hosts are run."""

    root: Path
    port_base: int | None = None
    """The first port; 0 picks free ones and keeps them, None stays with what the home has."""
    is_ray_used: bool = True
    """False: partition hosts are plain processes, which start 5 s sooner."""
    passed_environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        base = self.port_base
        if base and not PORT_BASE_MIN <= base <= PORT_BASE_MAX:
            raise StackSettingsInvalid(
                f"port base {base}: use 0 (free ports) or {PORT_BASE_MIN} to {PORT_BASE_MAX}"
            )

    def daemon_arguments(self) -> list[str]:
        """The command line of the stack's daemon."""
        arguments = [sys.executable, "-P", "-m", "ops.stack", "--home", str(self.root)]
        if self.port_base is not None:
            arguments += ["--port-base", str(self.port_base)]
        return arguments if self.is_ray_used else [*arguments, "--hosts-without-ray"]


def home_of(environment: Mapping[str, str], option: Path | None) -> Path:
    """The stack's home: the option, else TALLY_HOME, else ``./var``."""
    return (option or Path(environment.get(HOME_VARIABLE) or HOME_DEFAULT)).absolute()


# The highest port has five.
PORT_DIGITS_MAX = 5


def port_base_of(environment: Mapping[str, str]) -> int | None:
    """The port base that TALLY_PORT_BASE names, if it is set. Raises StackSettingsInvalid."""
    text = environment.get(PORT_BASE_VARIABLE)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= PORT_DIGITS_MAX):
        raise StackSettingsInvalid(f"{PORT_BASE_VARIABLE}={text!r} is no port number")
    return int(text)


def passed_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What of an environment the stack's processes get: the configuration's overrides, crash points."""
    return {
        name: value
        for name, value in environment.items()
        if name in _PASSED_NAMES or name.startswith(_PASSED_PREFIX)
    }
