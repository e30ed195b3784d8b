"""``tally scale``: how many partition hosts shall run."""

from __future__ import annotations

import asyncio

import click

from ops.books import books_session
from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.counting import counted
from ops.faults import CommandFailed
from ops.number_options import IntegerRange, timeout_option
from ops.stack.waiting import Owners
from runtime.config import Config
from runtime.faults import StorageUnavailable
from storage.intent import IntentStore
from storage.read_pool import ReadPool
from storage.status import StatusQueries

# The configuration's own bound.
HOST_COUNT_MAX = 1_024

_LOOK_EVERY_S = 0.3


@click.command()
@click.option(
    "--hosts", "host_count", type=IntegerRange(1, HOST_COUNT_MAX), required=True, help="How many."
)
@timeout_option(60.0)
@output_option
@json_option
@click.pass_obj
def scale(
    context: CommandContext, host_count: int, timeout_s: float, output_format: str, is_json: bool
) -> None:
    """Change the number of partition hosts, and wait until they own all partitions.

    Partitions are handed over while payments go on.
    """
    context.running_state()
    config = context.config()
    partition_count = config.deployment.partition_count
    if host_count > partition_count:
        raise click.BadParameter(
            f"the stack has {partition_count} partitions: each host beyond that would idle",
            param_hint="--hosts",
        )
    owned = asyncio.run(_scale(context, config, host_count, timeout_s))
    if is_json_wanted(output_format, is_json):
        context.output.json({"hosts": owned})
    else:
        context.output.table(
            "", ("host", "partitions"), [(name, len(own)) for name, own in sorted(owned.items())]
        )


async def _scale(
    context: CommandContext, config: Config, host_count: int, timeout_s: float
) -> dict[str, list[int]]:
    try:
        async with books_session(config, "gateway", "tally scale") as pool:
            await IntentStore(pool).set_host_count(host_count, actor="tally scale")
            async with asyncio.timeout(timeout_s):
                return await _wait(context, config, pool, host_count)
    except TimeoutError:
        raise CommandFailed(
            f"{counted(host_count, 'host')} did not get everything within {timeout_s:.0f} s."
            f" See: {context.hint('status')}"
        ) from None


async def _wait(
    context: CommandContext, config: Config, pool: ReadPool, host_count: int
) -> dict[str, list[int]]:
    """Return what each host owns once so many own everything."""
    partition_count = config.deployment.partition_count
    queries, owners = StatusQueries(pool), Owners()
    told = ""
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        try:
            hosts = await queries.hosts()
        except StorageUnavailable as unavailable:
            context.output.progress(f"waiting: {unavailable.reason}")
            continue
        now_s = asyncio.get_running_loop().time()
        living = owners.look(hosts, now_s)
        owned = {name: sorted(own) for name, own in living.items() if own}
        count = sum(map(len, owned.values()))
        text = f"{_own(len(owned))} {count} of {partition_count} partitions"
        if text != told and (told or owners.has_judged(now_s)):
            context.output.progress(text)
            told = text
        if len(living) == len(owned) == host_count and count == partition_count:
            return owned


def _own(host_count: int) -> str:
    return f"{counted(host_count, 'host')} {'owns' if host_count == 1 else 'own'}"
