"""``python -m gateway --config FILE [--name gateway-0]``: one gateway process, until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import click
import uvloop

from gateway.building import GatewayProcess
from gateway.serving import GatewayFailed, serve
from gateway.settings import GatewaySettingsInvalid
from runtime.collector import spare_the_living
from runtime.config import ConfigError, load_config
from runtime.crash_points import CrashPointError
from runtime.logs import configure_logs


@click.command()
@click.option("--config", "config_path", type=click.Path(path_type=Path), required=True)
@click.option("--name", default="gateway-0", show_default=True, help="Unique in its deployment.")
def main(config_path: Path, name: str) -> None:
    """Serve the API. Several processes with the same configuration share its port."""
    configure_logs(process_name=name)
    try:
        uvloop.run(_run(config_path, name))
    except (ConfigError, GatewaySettingsInvalid, CrashPointError, GatewayFailed) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"can't listen: {error.strerror}") from error


async def _run(config_path: Path, name: str) -> None:
    process = GatewayProcess(
        load_config(config_path, os.environ), name=name, environment=os.environ
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    process.start(stop.set)
    spare_the_living()
    try:
        await serve(process.gateway, process.settings, stop=stop)
    finally:
        await process.close()


if __name__ == "__main__":
    main()
