"""``python -m ops.stack --home DIR``: the daemon of one local stack, until SIGTERM."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
from pathlib import Path

import click

from ops.local.faults import LocalFault
from ops.local.layout import StackHome
from ops.stack.daemon import StackDaemon
from ops.stack.settings import StackSettings, passed_environment
from ops.stack.telling import StateTeller
from runtime.logs import configure_logs

LOCK_FILE = "stack.lock"

EXIT_FAILED = 1
EXIT_IN_USE = 4


@click.command()
@click.option("--home", type=click.Path(path_type=Path), required=True)
@click.option("--port-base", type=int, default=None)
@click.option("--hosts-without-ray", is_flag=True, help="Run partition hosts as plain processes.")
def main(home: Path, port_base: int | None, hosts_without_ray: bool) -> None:
    """Run one local stack until SIGTERM. `tally up` starts this in the background."""
    configure_logs(process_name="stack")
    settings = StackSettings(
        root=home,
        port_base=port_base,
        is_ray_used=not hosts_without_ray,
        passed_environment=passed_environment(os.environ),
    )
    try:
        stack_home = StackHome.prepare(home)
    except LocalFault as fault:
        raise click.ClickException(str(fault)) from fault
    # Held until the process ends; Python opens files close-on-exec, so no child inherits it.
    descriptor = os.open(stack_home.run / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.stderr.write(f"another stack daemon runs {stack_home.root}\n")
        sys.exit(EXIT_IN_USE)
    sys.exit(0 if asyncio.run(_run(stack_home, settings)) else EXIT_FAILED)


async def _run(home: StackHome, settings: StackSettings) -> bool:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    teller = StateTeller(home, is_ray_used=settings.is_ray_used)
    return await StackDaemon(home, settings, teller).run(stop)


if __name__ == "__main__":
    main()
