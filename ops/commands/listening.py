"""``tally listen --forward-to URL``: a merchant's events, as webhooks to a program on this machine."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import aiohttp
import click

from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.event_stream import EventStream
from ops.forwarding import Forwarded, Forwarder, listening_secret
from ops.number_options import IntegerRange
from payments.event_types import TYPE_PATTERNS, is_wanted
from runtime.clock import SystemClock


def _url(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        raise click.BadParameter("http://host:port/path, or https")
    return value


def _types(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """Refuse what no event is called: it would be waited for in vain."""
    for value in values:
        if value not in TYPE_PATTERNS:
            raise click.BadParameter(f"{value!r} is none of {', '.join(sorted(TYPE_PATTERNS))}")
    return values


@click.command()
@click.option(
    "--forward-to", "url", metavar="URL", required=True, callback=_url, help="Where to post events."
)
@click.option(
    "--type",
    "types",
    multiple=True,
    callback=_types,
    help="Forward only these, such as payment_order.succeeded or 'refund.*'; may be repeated.",
)
@click.option(
    "--after", metavar="CURSOR", default=None, help="Go on after this cursor.  [default: now]"
)
@click.option(
    "--count", type=IntegerRange(min=1), default=None, help="End after so many.  [default: never]"
)
@output_option
@json_option
@click.pass_obj
def listen(
    context: CommandContext,
    url: str,
    types: tuple[str, ...],
    after: str | None,
    count: int | None,
    output_format: str,
    is_json: bool,
) -> None:
    """Forward the merchant's events to a local URL, signed as webhooks are. Ctrl-C ends."""
    secret = listening_secret(context.root)
    wants_json = is_json_wanted(output_format, is_json)
    context.output.progress(f"events go to {url}, signed with {secret}")

    def tell(forwarded: Forwarded) -> None:
        if wants_json:
            context.output.json(forwarded.document())
        else:
            answered = forwarded.error or str(forwarded.status)
            context.output.line(
                f"{forwarded.type} {forwarded.event_id} -> {answered}",
                style=None if forwarded.is_delivered else "red",
            )

    async def run() -> None:
        left = count
        async with aiohttp.ClientSession() as session:
            stream = EventStream(session, context.gateway_url(), context.api_key(), after=after)
            forwarder = Forwarder(session, url, secret, clock=SystemClock())
            async for event in stream.events():
                if types and not is_wanted(event.type, types):
                    continue
                tell(await forwarder.forward(event))
                left = None if left is None else left - 1
                if left == 0:
                    return

    asyncio.run(run())
