"""``python -m loadtest.idempotency --url … --key … --second-key …``: see docs/load-testing.md."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.idempotency.catalogue import ROWS
from loadtest.idempotency.processes import LocalStack, status_of
from loadtest.idempotency.psp_record import PspRecord
from loadtest.idempotency.report import document, is_conformant, write_table
from loadtest.idempotency.rows import Deployment, Row
from loadtest.idempotency.runner import Result, Verdict, try_rows
from loadtest.idempotency.storefront import Storefront
from loadtest.idempotency.verdicts import NotTestable
from loadtest.rate import probe

TEST_KEY_PREFIX = "sk_test_"
LIVE_KEY_PREFIX = "sk_live_"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command was asked for."""

    url: str
    api_key: str
    second_key: str | None
    live_key: str | None
    home: Path | None
    delay_s: float
    seconds_max: float


async def run(
    options: Options, rows: Sequence[Row], environment: Mapping[str, str]
) -> list[Result]:
    """Try the rows, with a bar on stderr. Raises click.ClickException when nothing can be tried."""
    for key in (options.api_key, options.second_key, options.live_key):
        if key is not None:
            await probe(options.url, key)
    local = await _local(options, environment)
    async with AsyncExitStack() as stack:

        async def opened(key: str | None) -> Storefront | None:
            if key is None:
                return None
            return await stack.enter_async_context(Storefront(options.url, key))

        shop = await stack.enter_async_context(Storefront(options.url, options.api_key))
        deployment = Deployment(
            shop=shop,
            other_shop=await opened(options.second_key),
            live_shop=await opened(options.live_key),
            victims=None if local is None else local[0],
            psp_records=() if local is None else local[1],
            delay_s=options.delay_s,
        )
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
            bar = progress.add_task("promises", total=len(rows))

            def show(result: Result) -> None:
                if result.verdict is Verdict.FAILED:
                    progress.console.print(f"failed: {result.row.name}")
                progress.update(bar, advance=1, description=result.row.name)

            return await try_rows(rows, deployment, seconds_max=options.seconds_max, on_result=show)


async def _local(
    options: Options, environment: Mapping[str, str]
) -> tuple[LocalStack, Sequence[PspRecord]] | None:
    """Return what can be killed and asked of a stack on this machine."""
    if options.home is None:
        return None
    try:
        status = await status_of(options.home, environment)
    except NotTestable as why:
        raise click.ClickException(str(why)) from None
    if status.gateway_url is None or status.gateway_url.rstrip("/") != options.url:
        raise click.ClickException(
            f"The stack in {options.home} answers at {status.gateway_url}, not at {options.url}:"
            " its processes are left alone."
        )
    records = [PspRecord(url) for url in sorted({psp.url for psp in status.psps})]
    return LocalStack(options.home, environment), records


def _chosen(names: Sequence[str]) -> Sequence[Row]:
    known = {row.name for row in ROWS}
    for name in names:
        if name not in known:
            raise click.BadParameter(f"{name} is no row", param_hint="--row")
    return [row for row in ROWS if not names or row.name in names]


def _key(prefix: str, hint: str, key: str | None) -> str | None:
    if key is not None and not key.startswith(prefix):
        raise click.BadParameter(f"must be a {prefix}… key", param_hint=hint)
    return key


@click.command()
@click.option("--url", required=True, help="The gateway, such as http://127.0.0.1:7400.")
@click.option("--key", "api_key", required=True, help="A merchant's test API key.")
@click.option("--second-key", help="Another merchant's test API key.")
@click.option("--live-key", help="The first merchant's live API key.")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False, exists=True, resolve_path=True),
    help="The home of the stack, where it is on this machine: its gateways and hosts are killed.",
)
@click.option(
    "--delay", "delay_s", type=click.FloatRange(0, 86_400), default=5.0, show_default=True,
    help="Seconds until the late repeat.",
)  # fmt: skip
@click.option(
    "--time-limit", "seconds_max", type=click.FloatRange(1, 100_000), default=300.0,
    show_default=True, help="Seconds after which rows that have not ended have failed.",
)  # fmt: skip
@click.option("--row", "names", multiple=True, help="Try this row alone; may be repeated.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON document.")
def main(names: tuple[str, ...], is_json: bool, **given: object) -> None:
    """Try every promise about idempotency; exit 1 when one is broken, or none could be tried."""
    options = msgspec.convert({**given, "url": str(given["url"]).rstrip("/")}, Options)
    _key(TEST_KEY_PREFIX, "--key", options.api_key)
    _key(TEST_KEY_PREFIX, "--second-key", options.second_key)
    _key(LIVE_KEY_PREFIX, "--live-key", options.live_key)
    if options.second_key == options.api_key:
        raise click.BadParameter("must be another merchant's", param_hint="--second-key")
    if options.delay_s >= options.seconds_max:
        raise click.BadParameter("must be above --delay", param_hint="--time-limit")
    started_s = time.monotonic()
    results = asyncio.run(run(options, _chosen(names), os.environ))
    seconds = time.monotonic() - started_s
    if is_json:
        sys.stdout.write(msgspec.json.encode(document(results, seconds)).decode() + "\n")
    else:
        write_table(Console(), results, seconds)
    sys.exit(0 if is_conformant(results) else 1)


if __name__ == "__main__":
    main()
