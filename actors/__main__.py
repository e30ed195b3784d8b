"""``python -m actors host|supervisor|dispatcher --config FILE``: a host without Ray, the supervisor within it, or
the dispatcher of webhooks.

``python -m actors sacrifice`` is started by hosts alone (actors/sacrificing.py).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import click
import structlog
import uvloop

from runtime.collector import spare_the_living
from runtime.config import Config, ConfigError, load_config
from runtime.crash_points import CrashPointError
from runtime.logs import configure_logs

_log = structlog.get_logger(__name__)


def _load(path: Path) -> Config:
    try:
        return load_config(path, os.environ)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error


@click.group()
def main() -> None:
    """Start one of the actors' processes."""


@main.command()
@click.option("--config", "config_path", type=click.Path(path_type=Path), required=True)
@click.option("--name", required=True, help="The host's name, unique in its deployment.")
def host(config_path: Path, name: str) -> None:
    """Run one partition host in this process until SIGTERM, then drain."""
    config = _load(config_path)
    configure_logs(process_name=name)
    try:
        uvloop.run(_run_host(config, name))
    except (ConfigError, CrashPointError) as error:
        raise click.ClickException(str(error)) from error


async def _run_host(config: Config, name: str) -> None:
    # A sacrificial child needs nothing of it: half of what it takes to start.
    from actors.building import build_host

    process = build_host(config, name=name, environment=os.environ)
    spare_the_living()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, process.stop)
    await process.run()


@main.command()
@click.option("--config", "config_path", type=click.Path(path_type=Path), required=True)
@click.option("--timeout-s", type=float, default=60.0, show_default=True)
def supervisor(config_path: Path, timeout_s: float) -> None:
    """Make sure that the supervisor runs in the Ray cluster; print its process id."""
    # Only this command needs Ray; importing it takes a second.
    from actors.remote import start_supervisor

    config = _load(config_path)
    pid = start_supervisor(config, str(config_path.resolve()), timeout_s=timeout_s)
    sys.stdout.write(f"{pid}\n")


@main.command()
@click.option("--config", "config_path", type=click.Path(path_type=Path), required=True)
@click.option("--name", default="dispatcher", show_default=True, help="Unique in its deployment.")
def dispatcher(config_path: Path, name: str) -> None:
    """Deliver webhooks until SIGTERM. A second one waits until the first has gone."""
    config = _load(config_path)
    configure_logs(process_name=name)
    try:
        uvloop.run(_run_dispatcher(config, name))
    except ConfigError as error:
        raise click.ClickException(str(error)) from error


async def _run_dispatcher(config: Config, name: str) -> None:
    from actors.dispatcher_building import DispatcherProcess

    process = DispatcherProcess(config, name=name)
    spare_the_living()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, process.stop)
    await process.run()


@main.command()
def sacrifice() -> None:
    """Try entries for a host that started this process, and perhaps die of one."""
    from actors.sacrificed import serve

    configure_logs(process_name="sacrifice")
    serve(sys.stdin.buffer, sys.stdout.buffer, os.environ)


if __name__ == "__main__":
    main()
