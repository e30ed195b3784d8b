"""``python -m loadtest.books --home DIR --orders N``: a stack's books and oracle, filled with N payments.

The stack must not run. Its stores are started for the time, its partitions claimed, and orders are
decided and written as hosts do, in larger flushes and without queue and HTTP; the PSP simulator's log
gets what was charged. ``tally up`` then goes on with these books. For tests of capacity and of
``tally verify``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from uuid import uuid4

import click
import msgspec

from loadtest.filling import ORDERS_PER_FLUSH, BookFiller
from loadtest.logged_psp import logged_psp
from loadtest.orders import drawn_orders, open_shop
from ops.local.faults import LocalFault
from ops.local.layout import HomeLock, StackHome
from ops.local.ports import claim_ports
from ops.local.stores import LocalStores
from ops.merchants import ensure_sandbox
from ops.number_options import IntegerRange
from ops.stack.books import prepare_books
from ops.stack.config_file import PSP_NAME, write_config
from ops.stack.plan import SIMULATOR_SEED
from payments.commands import PaymentCommand
from runtime.clock import SystemClock
from runtime.config import Config

# Progress is told about this often.
TELL_EVERY_S = 10.0


async def fill_home(
    root: Path, *, order_count: int, seller_count: int, seed: int, declined_share: float
) -> float:
    """Fill the books of the home at ``root``, made if need be. Returns the orders a second.

    Raises HomeInUse, and changes nothing, when the stack runs.
    """
    home = StackHome.prepare(root)
    # Before ports and configuration are written anew, which a stack that runs still reads.
    lock = HomeLock(home)
    lock.acquire()
    lock.release()
    ports = claim_ports(home, 0)
    stores = LocalStores(home, ports)
    config = write_config(home, ports, (stores.valkey.primary.port, stores.valkey.replica.port), {})
    await stores.start(_tell)
    try:
        superuser = stores.postgres.dsn(stores.postgres.superuser, stores.postgres.password)
        await prepare_books(config, superuser)
        await ensure_sandbox(home, config)
        return await _fill(
            config,
            home.data / "psp-simulator",
            order_count=order_count,
            seller_count=seller_count,
            seed=seed,
            declined_share=declined_share,
        )
    finally:
        await stores.stop()


async def _fill(
    config: Config,
    oracle: Path,
    *,
    order_count: int,
    seller_count: int,
    seed: int,
    declined_share: float,
) -> float:
    clock = SystemClock()
    psp = logged_psp(name=PSP_NAME, seed=SIMULATOR_SEED, directory=oracle, clock=clock)
    filler = BookFiller(config, psp, clock)
    try:
        await filler.claim(uuid4())
        shop = await open_shop(config, seller_count=seller_count, seed=seed)
        orders = drawn_orders(
            shop,
            count=order_count,
            seed=seed,
            declined_share=declined_share,
            accepted_at=clock.now(),
        )
        started_s = told_s = time.monotonic()
        done_count = 0
        for chunk in _chunks(orders):
            await filler.take(chunk)
            done_count += len(chunk)
            if (now_s := time.monotonic()) - told_s >= TELL_EVERY_S:
                told_s = now_s
                _tell(f"{done_count} of {order_count} orders, {now_s - started_s:.0f} s")
        return done_count / (time.monotonic() - started_s)
    finally:
        await filler.close()
        await psp.close()


def _chunks(orders: Iterator[PaymentCommand]) -> Iterator[list[PaymentCommand]]:
    while chunk := list(islice(orders, ORDERS_PER_FLUSH)):
        yield chunk


def _tell(text: str) -> None:
    sys.stderr.write(f"  {text}\n")


@click.command()
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The home of a stack that does not run; made if need be.",
)
@click.option("--orders", "order_count", type=IntegerRange(1), default=100_000, show_default=True)
@click.option("--sellers", "seller_count", type=IntegerRange(1), default=1_000, show_default=True)
@click.option(
    "--seed", type=int, default=7, show_default=True, help="Draws it all; once a home each."
)
@click.option(
    "--declined", "declined_share", type=click.FloatRange(0, 1), default=0.03, show_default=True
)
def main(home: Path, order_count: int, seller_count: int, seed: int, declined_share: float) -> None:
    """Fill the books, and print one line of JSON."""
    try:
        rate_per_s = asyncio.run(
            fill_home(
                home.absolute(),
                order_count=order_count,
                seller_count=seller_count,
                seed=seed,
                declined_share=declined_share,
            )
        )
    except LocalFault as fault:
        raise click.ClickException(str(fault)) from None
    figures = {"orders": order_count, "rate_per_s": round(rate_per_s)}
    sys.stdout.write(msgspec.json.encode(figures).decode() + "\n")


if __name__ == "__main__":
    main()
