"""What every command gets: which stack, which environment, where to print."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from ops.exit_codes import ExitCode
from ops.faults import CommandFailed
from ops.output import Output, OutputFormat
from ops.stack.config_file import read_config
from ops.stack.secret_files import SANDBOX_KEY_FILE, read_secret
from ops.stack.state import Phase, StackState, read_state
from payments.routing import Cost
from runtime.config import Config, ConfigError

F = TypeVar("F", bound=Callable[..., Any])

API_KEY_VARIABLE = "TALLY_API_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext:
    """One call of `tally`."""

    root: Path
    """The stack's home."""
    environment: Mapping[str, str]
    output: Output
    is_home_given: bool = False
    """Whether an option named the home: then a command without it would mean another stack."""

    def hint(self, command: str, *, program: str = "tally") -> str:
        """A command for people to type, for this stack wherever they are."""
        home = f" --home {shlex.quote(str(self.root))}" if self.is_home_given else ""
        return f"{program}{home} {command}"

    def running_state(self) -> StackState:
        """The running stack. Raises CommandFailed when it doesn't run."""
        state = read_state(self.root)
        if state is None or not state.is_daemon_alive or state.phase is not Phase.RUNNING:
            raise CommandFailed(
                f"the stack of {self.root} is not running. Start it: {self.hint('up')}",
                ExitCode.NOT_RUNNING,
            )
        return state

    def gateway_url(self) -> str:
        """Where the running stack's API is. Raises CommandFailed."""
        addresses = self.running_state().addresses
        if addresses is None:
            raise CommandFailed("the stack has not told its addresses yet", ExitCode.NOT_RUNNING)
        return addresses.gateway_url

    def config(self) -> Config:
        """The stack's configuration. Raises ConfigError."""
        return read_config(self.root, self.environment)

    def psp_prices(self) -> dict[str, Cost]:
        """What each PSP takes, by its name; nothing where the configuration can't be read."""
        try:
            return {psp.name: psp.cost for psp in self.config().psps}
        except ConfigError:
            return {}

    def api_key(self) -> str:
        """TALLY_API_KEY, else the sandbox merchant's key. Raises CommandFailed."""
        key = self.environment.get(API_KEY_VARIABLE) or read_secret(self.root, SANDBOX_KEY_FILE)
        if key is None:
            raise CommandFailed(
                f"no API key: set {API_KEY_VARIABLE}, or run {self.hint('up')} first"
            )
        return key

    def fail(self, text: str, code: ExitCode = ExitCode.FAILED) -> NoReturn:
        raise CommandFailed(text, code)


def output_option(command: F) -> F:
    """Add ``-o table|json``."""
    return click.option(
        "-o",
        "--output",
        "output_format",
        type=click.Choice([item.value for item in OutputFormat]),
        default=OutputFormat.TABLE.value,
        show_default=True,
        help="A table for people, or JSON for programs.",
    )(command)


def json_option(command: F) -> F:
    """Add ``--json``, short for ``-o json``."""
    return click.option("--json", "is_json", is_flag=True, help="Short for -o json.")(command)


def is_json_wanted(output_format: str, is_json: bool = False) -> bool:
    return is_json or output_format == OutputFormat.JSON.value
