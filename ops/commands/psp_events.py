"""``tally psp-events``: what providers told by webhook, and a person may have to look at.

Asks the books directly, so it works while no gateway does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click

from ops.books import books_session
from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.number_options import IntegerRange
from payments.attempts import ResultClass
from storage.psp_events import EVENTS_PAGE_MAX, OddEvent, OddState, PostgresPspEvents


@click.group("psp-events")
def psp_events() -> None:
    """Look at what providers told by webhook."""


@psp_events.command("list")
@click.option("--result", type=click.Choice([state.value for state in OddState]), default=None)
@click.option("--limit", type=IntegerRange(1, EVENTS_PAGE_MAX), default=20, show_default=True)
@output_option
@json_option
@click.pass_obj
def list_events(
    context: CommandContext, result: str | None, limit: int, output_format: str, is_json: bool
) -> None:
    """List events that contradict the books, found no order, or wait; newest first."""
    wanted = None if result is None else OddState(result)
    context.running_state()
    found = asyncio.run(_read(context, wanted, limit))
    if is_json_wanted(output_format, is_json):
        context.output.json({"psp_events": [document(event) for event in found]})
        return
    rows = [
        (
            event.state.value,
            event.psp,
            event.event_id,
            payment_text(event),
            event.merchant_id or "",
            event.attempt_no,
            ResultClass(event.result).name.lower(),
            f"{event.captured_minor} {event.currency or ''}".strip(),
            event.detail,
            event.accepted_at.isoformat(timespec="seconds"),
        )
        for event in found
    ]
    heads = (
        "result",
        "psp",
        "event",
        "payment",
        "merchant",
        "attempt",
        "tells",
        "minor",
        "why",
        "since",
    )
    context.output.table("PSPs' events", heads, rows)


async def _read(context: CommandContext, state: OddState | None, limit: int) -> Sequence[OddEvent]:
    config = context.config()
    async with books_session(config, "reader", "tally psp-events") as pool:
        return await PostgresPspEvents(pool).odd(state, count_max=limit)


def payment_text(event: OddEvent) -> str:
    """Return the id that ``tally payments show`` takes, or that no order of the event is known."""
    return "unmatched" if event.payment_id is None else str(event.payment_id)


def document(event: OddEvent) -> dict[str, object]:
    """An event as JSON shows it."""
    return {
        "result": event.state.value,
        "psp": event.psp,
        "event": event.event_id,
        "payment": None if event.payment_id is None else str(event.payment_id),
        "merchant": event.merchant_id,
        "order_uuid": str(event.order_uuid),
        "partition": event.partition_index,
        "attempt": event.attempt_no,
        "tells": ResultClass(event.result).name.lower(),
        "reference": event.reference,
        "captured": event.captured_minor,
        "currency": event.currency,
        "why": event.detail,
        "accepted_at": event.accepted_at.isoformat(),
    }
