"""``python -m loadtest.client``: pays carts with the Python client while everything around it fails.

Starts a stack of its own, every way through the proxy of `tally chaos`, and storefronts that pay with both
clients, async and blocking. Gateways are killed and frozen, connections reset and cut, copies taken away so
that orders are answered 503; and the storefronts' own processes are killed, too. Each cart must be charged
once: by the client's word, by its key store, and by the providers' own records.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import msgspec

from loadtest.chaos.failures import ChaosFailed
from loadtest.client.running import Options, run
from loadtest.history.directories import new_run_directory
from ops.local.faults import LocalFault
from ops.number_options import IntegerRange

PAYMENTS_DEFAULT = 10_000
# As with `tally chaos`: what two cores carry beside everything else that runs here.
RATE_DEFAULT = 60.0

# As long as its faults last.
PAYMENTS_SHORT = 200
RATE_SHORT = 7.0

# As everywhere: 128 and the number of SIGINT.
EXIT_INTERRUPTED = 130


@click.command()
@click.option(
    "--payments", "payment_count", type=IntegerRange(1), default=PAYMENTS_DEFAULT,
    show_default=True,
)  # fmt: skip
@click.option(
    "--rate", "rate_per_s", type=click.FloatRange(1), default=RATE_DEFAULT, show_default=True,
    help="Carts a second.",
)  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--short", "is_short", is_flag=True,
    help=f"{PAYMENTS_SHORT} carts and a few faults: shows that it works.",
)  # fmt: skip
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), default=None)
@click.option("--json", "is_json", is_flag=True)
def main(
    payment_count: int,
    rate_per_s: float,
    seed: int,
    directory: Path | None,
    *,
    is_short: bool,
    is_json: bool,
) -> None:
    """Pay carts under faults; exit 1 unless each was charged once."""
    with tempfile.TemporaryDirectory(prefix="tally-client-") as temporary:
        options = Options(
            payment_count=PAYMENTS_SHORT if is_short else payment_count,
            rate_per_s=RATE_SHORT if is_short else rate_per_s,
            seed=seed,
            is_short=is_short,
            directory=Path(temporary) if directory is None else new_run_directory(directory),
        )
        try:
            document = asyncio.run(_run(options))
        except asyncio.CancelledError:
            click.echo("interrupted; the stack is ended and its data deleted", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except (ChaosFailed, LocalFault) as fault:
            raise click.ClickException(str(fault)) from fault
    if is_json:
        click.echo(msgspec.json.encode(document).decode())
    else:
        for name, value in document.items():
            click.echo(f"{name}: {value}")
    sys.exit(1 if document["violations"] else 0)


async def _run(options: Options) -> dict[str, Any]:
    running = asyncio.current_task()
    assert running is not None
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, running.cancel)
    return await run(options, lambda text: click.echo(text, err=True))


if __name__ == "__main__":
    main()
