"""``tally events``: the feed as a storefront sees it, and sending its webhooks again."""

from __future__ import annotations

import asyncio
from datetime import datetime
from urllib.parse import quote

import click

from ops.api_client import ApiAnswer, ApiClient
from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.number_options import IntegerRange
from payments.feed import parse_delivery_id

PAGE_MAX = 100


@click.group()
def events() -> None:
    """Look at what happened, and send webhooks again."""


@events.command("list")
@click.option("--after", default=None, metavar="CURSOR", help="Go on behind this next_cursor.")
@click.option("--limit", type=IntegerRange(1, PAGE_MAX), default=20, show_default=True)
@output_option
@json_option
@click.pass_obj
def list_events(
    context: CommandContext, after: str | None, limit: int, output_format: str, is_json: bool
) -> None:
    """List the merchant's events, oldest first."""
    path = f"/v1/events?limit={limit}"
    if after is not None:
        path += f"&after={quote(after, safe='')}"
    answer = asyncio.run(_asked(context, path))
    if is_json_wanted(output_format, is_json):
        context.output.json(dict(answer.body))
        return
    rows = [
        (event["id"], event["type"], event["object_id"], event["sequence"], event["created_at"])
        for event in answer.body["data"]
    ]
    context.output.table("Events", ("id", "type", "object", "sequence", "at"), rows)
    more = "There are more. " if answer.body["has_more"] else ""
    context.output.line(f"{more}Go on with --after {answer.body['next_cursor']}")


def _moment(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise click.BadParameter("RFC 3339 with an offset, such as 2026-11-01T12:00:00Z")
    return value


@events.command()
@click.argument("delivery", required=False, metavar="[DELIVERY]")
@click.option("--endpoint", required=True, metavar="ID", help="The webhook endpoint, we_….")
@click.option("--from", "since", default=None, callback=_moment, help="Events from this time on.")
@click.option("--to", "until", default=None, callback=_moment, help="Up to this time.")
@click.option("--state", type=click.Choice(["delivered", "dead"]), default=None)
@output_option
@json_option
@click.pass_obj
def resend(
    context: CommandContext,
    delivery: str | None,
    endpoint: str,
    since: str | None,
    until: str | None,
    state: str | None,
    output_format: str,
    is_json: bool,
) -> None:
    """Send one DELIVERY again, or all of a time; with the same ids and bytes as before."""
    is_range = since is not None and until is not None
    if (delivery is None) != is_range:
        raise click.UsageError("name one delivery, or a time with --from and --to")
    path = f"/v1/webhook_endpoints/{quote(endpoint, safe='')}"
    body: dict[str, object] = {}
    if delivery is not None:
        if parse_delivery_id(delivery) is None:
            raise click.BadParameter(
                f"{delivery!r} is no delivery's id; they are in: tally webhooks deliveries {endpoint}"
            )
        path += f"/deliveries/{delivery}"
    else:
        body = {"from": since, "to": until, **({} if state is None else {"state": state})}
    answer = asyncio.run(_asked(context, f"{path}/resend", body))
    if is_json_wanted(output_format, is_json):
        context.output.json(dict(answer.body))
        return
    count = answer.body["deliveries"]
    more = "; there are more: run it again" if answer.body["has_more"] else ""
    # A range passes over what is tried anyway: else nothing says why nothing is sent.
    none = "; what waits is tried anyway" if count == 0 else ""
    context.output.line(f"{count} sent again{more}{none}")


async def _asked(
    context: CommandContext, path: str, body: dict[str, object] | None = None
) -> ApiAnswer:
    async with ApiClient(context.gateway_url(), context.api_key()) as client:
        answer = await (client.get(path) if body is None else client.post(path, body))
    if answer.is_problem:
        context.fail(answer.refusal())
    return answer
