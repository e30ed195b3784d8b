"""``tally``: runs a local stack, shows how it is, and acts as a storefront would."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from ops.context import CommandContext
from ops.exit_codes import ExitCode
from ops.faults import CommandFailed, GatewayUnreachable
from ops.output import Output
from ops.stack.settings import StackSettingsInvalid, home_of
from payments.defects import InvariantViolation
from runtime.config import ConfigError
from runtime.faults import Fault

DISTRIBUTION = "tallystick-server"

# Which module of ops.commands holds which command.
_MODULES: Mapping[str, str] = {
    "bench": "bench",
    "chaos": "chaos",
    "dead-letters": "dead_letters",
    "doctor": "diagnosis",
    "down": "lifecycle",
    "events": "events",
    "listen": "listening",
    "logs": "logs",
    "merchants": "directory",
    "migrate": "lifecycle",
    "pay": "payments",
    "payments": "payments",
    "psp-events": "psp_events",
    "reconcile": "reconciling",
    "reset": "lifecycle",
    "route": "routing",
    "scale": "hosts",
    "status": "status",
    "stores": "stores",
    "top": "top",
    "trigger": "triggering",
    "up": "lifecycle",
    "verify": "verify",
    "wallet": "payments",
    "webhooks": "webhooks",
}


def version_text() -> str:
    """The version of the installed distribution."""
    # Few commands tell it, and its import takes longer than click's.
    from importlib import metadata

    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown (not installed: run make up, or pip install -e .)"


def _tell_version(context: click.Context, _option: click.Parameter, is_wanted: bool) -> None:
    if is_wanted and not context.resilient_parsing:
        click.echo(f"tally {version_text()}")
        context.exit()


class LazyGroup(click.Group):
    """A group that imports a command only when it is called: `status` needs no HTTP client."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _MODULES.get(cmd_name)
        if module is None:
            return None
        command = getattr(
            importlib.import_module(f"ops.commands.{module}"), cmd_name.replace("-", "_")
        )
        if not isinstance(command, click.Command):
            raise InvariantViolation(f"ops.commands.{module}.{cmd_name} is no command")
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_version,
    help="Show the version and exit.",
)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="The stack's home.  [default: TALLY_HOME, else ./var]",
)
@click.pass_context
def cli(context: click.Context, home: Path | None) -> None:
    """Run a local Tallystick, and look after it."""
    environment = dict(os.environ)
    context.obj = CommandContext(
        root=home_of(environment, home),
        environment=environment,
        output=Output(environment),
        is_home_given=home is not None,
    )


def main() -> None:
    """Run the command line; the exit code tells what happened (ops/exit_codes.py)."""
    output = Output(os.environ)
    try:
        cli.main(prog_name="tally", standalone_mode=False)
    except CommandFailed as failure:
        output.complaint(failure.text)
        sys.exit(failure.code)
    except click.UsageError as error:
        error.show()
        sys.exit(ExitCode.USAGE)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except (click.Abort, KeyboardInterrupt):
        output.complaint("interrupted")
        sys.exit(130)
    except (ConfigError, StackSettingsInvalid) as error:
        output.complaint(str(error))
        sys.exit(ExitCode.USAGE)
    except GatewayUnreachable as fault:
        output.complaint(str(fault))
        sys.exit(ExitCode.NOT_RUNNING)
    except PermissionError as error:
        output.complaint(f"{error.filename}: {error.strerror}. Does another user own this home?")
        sys.exit(ExitCode.FAILED)
    except Fault as fault:
        output.complaint(str(fault))
        sys.exit(ExitCode.FAILED)


if __name__ == "__main__":
    main()
