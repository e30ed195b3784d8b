"""``tally webhooks``: endpoints of all merchants, and their delivery logs, for operators.

Asks the books directly, so it works while no gateway does.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import click

from ops.books import actor_of, on_books
from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.number_options import IntegerRange
from ops.stated_reasons import reason_option
from payments.event_types import EVENT_TYPES
from payments.feed import delivery_id, endpoint_id, event_id, parse_endpoint_id
from storage.read_pool import ReadPool
from storage.webhook_ports import (
    ABOVE_ALL_DELIVERIES,
    ABOVE_ALL_ENDPOINTS,
    Delivery,
    DeliveryState,
    Endpoint,
    EndpointStatus,
)
from storage.webhooks import PostgresWebhooks

PAGE_MAX = 100


@click.group()
def webhooks() -> None:
    """Look at webhook endpoints and their deliveries; stop them or let them go on."""


def _number(_context: click.Context, _parameter: click.Parameter, value: str) -> int:
    number = parse_endpoint_id(value)
    if number is None:
        raise click.BadParameter(f"{value!r} is no endpoint's id; they are in: tally webhooks list")
    return number


_endpoint_argument = click.argument("endpoint_no", metavar="ENDPOINT", callback=_number)


@webhooks.command("list")
@click.option("--limit", type=IntegerRange(1, PAGE_MAX), default=20, show_default=True)
@output_option
@json_option
@click.pass_obj
def list_endpoints(context: CommandContext, limit: int, output_format: str, is_json: bool) -> None:
    """List endpoints, newest first. Of URLs only the host: a merchant may keep a secret in the rest."""

    async def read(pool: ReadPool) -> Sequence[Endpoint]:
        return await PostgresWebhooks(pool).of_everybody(
            endpoint_no=None, below=ABOVE_ALL_ENDPOINTS, count_max=limit
        )

    found = on_books(context, context.config(), read)
    if is_json_wanted(output_format, is_json):
        context.output.json({"webhook_endpoints": [document(one) for one in found]})
        return
    rows = [
        (
            endpoint_id(one.endpoint_no),
            one.merchant_no,
            one.mode.wire,
            _host(one),
            one.status.wire,
            one.status_reason or "",
            "" if one.failing_since is None else one.failing_since.isoformat(timespec="seconds"),
        )
        for one in found
    ]
    heads = ("id", "merchant", "mode", "host", "status", "why", "failing since")
    context.output.table("Webhook endpoints", heads, rows)


@webhooks.command()
@_endpoint_argument
@click.option("--state", type=click.Choice([state.wire for state in DeliveryState]), default=None)
@click.option("--limit", type=IntegerRange(1, PAGE_MAX), default=20, show_default=True)
@output_option
@json_option
@click.pass_obj
def deliveries(
    context: CommandContext,
    endpoint_no: int,
    state: str | None,
    limit: int,
    output_format: str,
    is_json: bool,
) -> None:
    """List an endpoint's deliveries, newest first."""
    wanted = None if state is None else DeliveryState.from_wire(state)

    async def read(pool: ReadPool) -> Sequence[Delivery]:
        return await PostgresWebhooks(pool).deliveries(
            endpoint_no, below=ABOVE_ALL_DELIVERIES, state=wanted, count_max=limit
        )

    found = on_books(context, context.config(), read)
    if is_json_wanted(output_format, is_json):
        context.output.json({"deliveries": [delivery_document(one) for one in found]})
        return
    rows = [
        (
            delivery_id(one.endpoint_no, one.position),
            _type(one),
            one.state.wire,
            one.try_count,
            one.last_http_status or one.last_error or "",
            "" if one.due_at is None else one.due_at.isoformat(timespec="seconds"),
        )
        for one in found
    ]
    heads = ("id", "type", "state", "tries", "last answer", "next try")
    context.output.table("Deliveries", heads, rows)


@webhooks.command()
@_endpoint_argument
@reason_option
@click.pass_obj
def enable(context: CommandContext, endpoint_no: int, reason: str) -> None:
    """Have an endpoint go on where it stopped."""
    _set_status(context, endpoint_no, EndpointStatus.ENABLED, reason)


@webhooks.command()
@_endpoint_argument
@reason_option
@click.pass_obj
def disable(context: CommandContext, endpoint_no: int, reason: str) -> None:
    """Send nothing to an endpoint until it is enabled. Nothing is lost meanwhile."""
    _set_status(context, endpoint_no, EndpointStatus.DISABLED, reason)


def document(endpoint: Endpoint) -> dict[str, object]:
    """An endpoint as JSON shows it to operators."""
    failing_since = endpoint.failing_since
    return {
        "id": endpoint_id(endpoint.endpoint_no),
        "merchant_no": endpoint.merchant_no,
        "mode": endpoint.mode.wire,
        "host": _host(endpoint),
        "types": list(endpoint.types),
        "status": endpoint.status.wire,
        "why": endpoint.status_reason,
        "failing_since": None if failing_since is None else failing_since.isoformat(),
    }


def delivery_document(delivery: Delivery) -> dict[str, object]:
    """A delivery as JSON shows it to operators."""
    return {
        "id": delivery_id(delivery.endpoint_no, delivery.position),
        "event": event_id(delivery.position.key),
        "type": _type(delivery),
        "state": delivery.state.wire,
        "tries": delivery.try_count,
        "last_http_status": delivery.last_http_status,
        "last_error": delivery.last_error,
        "last_duration_ms": delivery.last_duration_ms,
        "next_try_at": None if delivery.due_at is None else delivery.due_at.isoformat(),
    }


def _set_status(
    context: CommandContext, endpoint_no: int, status: EndpointStatus, reason: str
) -> None:
    named = endpoint_id(endpoint_no)

    async def change(pool: ReadPool) -> bool:
        books = PostgresWebhooks(pool)
        found = await books.of_everybody(
            endpoint_no=endpoint_no, below=ABOVE_ALL_ENDPOINTS, count_max=1
        )
        if not found:
            return False
        why = None if status is EndpointStatus.ENABLED else f"an operator: {reason}"
        one = found[0]
        if not await books.set_status(one.merchant_no, one.mode, endpoint_no, status, why):
            return False
        actor = actor_of("webhooks")
        await books.audit(actor, f"webhook_endpoint.{status.wire}", named, reason)
        return True

    if not on_books(context, context.config(), change):
        context.fail(f"there is no webhook endpoint {named}")
    context.output.line(f"{named} is {status.wire}")


def _host(endpoint: Endpoint) -> str:
    return urlsplit(endpoint.url).netloc


def _type(delivery: Delivery) -> str:
    found = EVENT_TYPES.get(delivery.type)
    return str(delivery.type) if found is None else found.wire
