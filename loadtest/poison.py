"""``python -m loadtest.poison``: what one message that nobody can take in costs the others.

Starts a stack of its own, and posts rounds of the same load: once without poison, once with one message of
each kind in its middle: one that can't be decoded, one that a handler raises for, one that ends its hosts;
in an order that is balanced over the rounds, after a load that is measured for nobody.
Each must become one dead letter, every other order must end and be charged once, and the p99 of what
storefronts wait for, the answer to their POST, may grow by less than GROWTH_MAX: over all good orders of a
load, from the moment each was due, against the load without poison of the same round, the median of the
rounds. What is told beside it is not judged: the same p99 of the orders posted between the poison and its
letter, and the time to settle, since hosts that die take their partitions' settling with them.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
import uvloop

from loadtest.bench.verifying import verify
from loadtest.interrupting import cancel_on_signals
from loadtest.poison_figures import (
    NONE,
    POISONS,
    Round,
    Run,
    balanced_orders,
    problems_of,
    summary,
)
from loadtest.poison_load import ENVIRONMENT, Loaded
from ops.number_options import IntegerRange
from ops.stack.client import start_stack, stop_stack
from ops.stack.settings import StackSettings

# In the short form so few orders make a p99 that the machine's own noise is larger: it is told, not judged.
ORDERS_SHORT = 300
ORDERS_DEFAULT = 10_000
# Half of what keeps two cores busy all the time. On a full machine any further work is felt by everybody, and the
# slowest hundredth tells of a few short stalls: two loads without poison then differ by more than a fifth.
RATE_DEFAULT = 150.0
# As many as there are kinds of load, so that each comes first, second, third and last once.
ROUNDS_DEFAULT = 4
# The first load of a fresh stack is slower than all others: processes' caches, connections, plans of statements.
WARM_UP_ORDERS = 3_000

EXIT_INTERRUPTED = 130


@click.command()
@click.option("--orders", "order_count", type=IntegerRange(100), default=ORDERS_DEFAULT)
@click.option("--rate", type=click.FloatRange(1), default=RATE_DEFAULT, help="Orders a second.")
@click.option("--rounds", "round_count", type=IntegerRange(1), default=ROUNDS_DEFAULT)
@click.option("--seed", type=int, default=7, show_default=True)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(POISONS),
    multiple=True,
    default=POISONS,
    help="This kind alone; may be repeated.",
)
@click.option(
    "--short", "is_short", is_flag=True, help="Few orders, one round; growth is told, not judged."
)
@click.option("--json", "is_json", is_flag=True)
def main(
    order_count: int,
    rate: float,
    round_count: int,
    seed: int,
    kinds: tuple[str, ...],
    *,
    is_short: bool,
    is_json: bool,
) -> None:
    """Measure the others' p99 with and without one poison message of each kind."""
    count = ORDERS_SHORT if is_short else order_count
    # Short, because Unix sockets lie below it.
    root = Path(tempfile.mkdtemp(prefix="tally-poison-"))
    try:
        settings = StackSettings(
            root=root, port_base=0, is_ray_used=False, passed_environment=ENVIRONMENT
        )
        state = start_stack(settings, lambda text: click.echo(text, err=True))
        if state.addresses is None:
            raise click.ClickException("the stack has not told its addresses")
        loaded = Loaded(root, state.addresses.gateway_url)
        rounds = uvloop.run(
            _rounds(
                loaded,
                1 if is_short else round_count,
                (NONE, *kinds),
                order_count=count,
                rate=rate,
                seed=seed,
            )
        )
        verdict = asyncio.run(verify(root))
    except asyncio.CancelledError:
        click.echo("interrupted: nothing was judged", err=True)
        sys.exit(EXIT_INTERRUPTED)
    finally:
        stop_stack(root, lambda text: click.echo(text, err=True))
        shutil.rmtree(root, ignore_errors=True)
    problems = problems_of(rounds, count, is_judged=not is_short)
    if verdict["ok"] is not True:
        problems.append(f"the books are not right: {verdict}")
    lines = summary(rounds)
    if is_json:
        runs = [run.document(runs[NONE]) for runs in rounds for run in runs.values()]
        result = {"seed": seed, "rate": rate, "summary": lines, "runs": runs, "problems": problems}
        click.echo(msgspec.json.encode(result).decode())
    else:
        click.echo(f"rate={rate:g}/s seed={seed} books_ok={verdict['ok']}")
        for line in lines:
            click.echo("  ".join(f"{name}={value}" for name, value in line.items()))
        for problem in problems:
            click.echo(f"WRONG {problem}")
    sys.exit(1 if problems else 0)


async def _rounds(
    loaded: Loaded,
    round_count: int,
    kinds: Sequence[str],
    *,
    order_count: int,
    rate: float,
    seed: int,
) -> list[Round]:
    cancel_on_signals()
    warm_up_count = min(order_count, WARM_UP_ORDERS)
    await loaded.run(NONE, order_count=warm_up_count, rate=rate, seed=f"{seed} first")
    rounds: list[Round] = []
    for number, order in enumerate(balanced_orders(kinds, round_count, seed=seed)):
        runs: dict[str, Run] = {}
        for kind in order:
            runs[kind] = await loaded.run(
                kind, order_count=order_count, rate=rate, seed=f"{seed} {number}"
            )
            click.echo(f"round {number + 1}: {kind} is over", err=True)
        rounds.append({kind: runs[kind] for kind in kinds})
    return rounds


if __name__ == "__main__":
    main()
