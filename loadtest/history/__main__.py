"""``python -m loadtest.history``: a load on a running local stack, into a run directory."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import click
import msgspec

from loadtest.checker.collecting import collect
from loadtest.checker.files import RUN_NAME
from loadtest.history.directories import new_run_directory
from loadtest.history.of_stack import StackLoad
from ops.stack.state import read_state

# What was accepted last is taken in, and in the books, within this.
AFTER_S = 1.0


async def load_home(
    home: Path,
    directory: Path,
    *,
    seed: int,
    seconds: float,
    rate_per_s: float,
    settle_s_max: float,
    has_webhooks: bool = False,
) -> dict[str, object]:
    """Load the running stack of a home, wait, read everything to its end; return what was sent."""
    state = read_state(home)
    if state is None or state.addresses is None:
        raise click.ClickException(f"no stack runs in {home}")
    url = state.addresses.gateway_url
    stack_load = StackLoad(
        home,
        (url,),
        seed=seed,
        rate_per_s=rate_per_s,
        seconds=seconds,
        has_webhooks=has_webhooks,
    )
    run: dict[str, object] = {"home": str(home), "seed": seed, "mix": "none"}
    run["started_ns"] = time.monotonic_ns()
    load = await stack_load.run(directory, asyncio.Event())
    await asyncio.sleep(AFTER_S)
    if await stack_load.wait_quiet(settle_s_max):
        run["quiesced_ns"] = time.monotonic_ns()
    is_complete = await stack_load.read_final(directory)
    run["ended_ns"] = time.monotonic_ns()
    (directory / RUN_NAME).write_bytes(msgspec.json.encode(run))
    return {
        **load.counts,
        "operations": load.op_count,
        "keys": len(load.sent),
        "is_complete": is_complete,
        "unread": await collect(directory),
    }


@click.command()
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--seconds", type=click.FloatRange(1), default=30.0, show_default=True)
@click.option("--rate", "rate_per_s", type=click.FloatRange(1), default=100.0, show_default=True)
@click.option(
    "--settle",
    "settle_s_max",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="How long open orders may take to end, after the last one was sent.",
)
@click.option(
    "--webhooks",
    "has_webhooks",
    is_flag=True,
    help="With endpoints, and a receiver that counts (I18).",
)
def main(
    home: Path,
    directory: Path,
    seed: int,
    seconds: float,
    rate_per_s: float,
    settle_s_max: float,
    has_webhooks: bool,
) -> None:
    """Load a running stack and collect its records; `python -m loadtest.checker` checks them."""
    new_run_directory(directory)
    done = asyncio.run(
        load_home(
            home.absolute(),
            directory,
            seed=seed,
            seconds=seconds,
            rate_per_s=rate_per_s,
            settle_s_max=settle_s_max,
            has_webhooks=has_webhooks,
        )
    )
    sys.stdout.write(msgspec.json.encode(done).decode() + "\n")


if __name__ == "__main__":
    main()
