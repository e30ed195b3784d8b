"""``tally top``: what the stack does, as it does it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import asdict
from datetime import datetime

import click
from rich.console import Console
from rich.live import Live

from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.number_options import NumberRange
from ops.stack.state import StackState
from ops.top.computing import view_of
from ops.top.figures import View
from ops.top.keys import quit_on_key
from ops.top.reading import Reading, StackReader
from ops.top.rendering import Caption, picture
from runtime.clock import Clock, SystemClock

# Rates of the live view are over so long: shorter ones jump, longer ones hide what begins.
WINDOW_S = 10.0


@click.command()
@click.option("--once", is_flag=True, help="Look twice, print one picture, and end.")
@click.option(
    "--interval",
    "interval_s",
    type=NumberRange(0.2, 60),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@output_option
@json_option
@click.pass_obj
def top(
    context: CommandContext, once: bool, interval_s: float, output_format: str, is_json: bool
) -> None:
    """Show rates, stages, gateways, hosts, stores and partitions, live. q or Ctrl-C ends.

    What can't be read is shown as unreadable, never as zero. JSON, and output that is no
    terminal, are printed once.
    """
    state = context.running_state()
    console = context.output.console
    reader = StackReader(context.config())
    if is_json_wanted(output_format, is_json):
        context.output.json(asdict(asyncio.run(_once(reader, interval_s))))
    elif once or not console.is_terminal:
        view = asyncio.run(_once(reader, interval_s))
        caption = _caption(context, state, SystemClock(), is_live=False)
        console.print(picture(view, caption, width=console.width, height=None))
    else:
        asyncio.run(_live(context, reader, state, console, interval_s))


async def _once(reader: StackReader, interval_s: float) -> View:
    try:
        before = await reader.read()
        await asyncio.sleep(interval_s)
        return view_of(before, await reader.read())
    finally:
        await reader.close()


async def _live(
    context: CommandContext,
    reader: StackReader,
    state: StackState,
    console: Console,
    interval_s: float,
) -> None:
    stop = asyncio.Event()
    clock = SystemClock()
    seen: deque[Reading] = deque()
    try:
        with quit_on_key(stop), Live(console=console, screen=True, auto_refresh=False) as live:
            while not stop.is_set():
                now = await reader.read()
                while seen and now.at_s - seen[0].at_s > WINDOW_S:
                    seen.popleft()
                view = view_of(seen[0] if seen else None, now)
                seen.append(now)
                caption = _caption(context, state, clock, is_live=True)
                size = console.size
                live.update(
                    picture(view, caption, width=size.width, height=size.height), refresh=True
                )
                await _stopped_within(stop, interval_s)
    finally:
        await reader.close()


async def _stopped_within(stop: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await stop.wait()
    except TimeoutError:
        return


def _caption(context: CommandContext, state: StackState, clock: Clock, *, is_live: bool) -> Caption:
    started_at = datetime.fromisoformat(state.started_at)
    return Caption(
        home=str(context.root),
        uptime_s=(clock.now() - started_at).total_seconds(),
        is_live=is_live,
    )
