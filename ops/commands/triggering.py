"""``tally trigger TYPE``: makes the sandbox send an event."""

from __future__ import annotations

import asyncio

import click

from ops.api_client import ApiClient
from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.exit_codes import ExitCode
from ops.triggers import TRIGGERS, Trigger, Triggered, pull


@click.command()
@click.argument("event_type", metavar="[TYPE]", required=False)
@output_option
@json_option
@click.pass_obj
def trigger(
    context: CommandContext, event_type: str | None, output_format: str, is_json: bool
) -> None:
    """Make the sandbox send an event, such as payment_order.succeeded. Without TYPE: list them."""
    wants_json = is_json_wanted(output_format, is_json)
    if event_type is None:
        if wants_json:
            context.output.json({name: each.what for name, each in TRIGGERS.items()})
        else:
            rows = [(name, each.what) for name, each in TRIGGERS.items()]
            context.output.table("", ("type", "what happens"), rows)
        return
    wanted = TRIGGERS.get(event_type)
    if wanted is None:
        raise click.BadParameter(f"the sandbox can send {', '.join(TRIGGERS)}", param_hint="TYPE")
    triggered = asyncio.run(_pull(context, wanted))
    if triggered.status is None:
        context.fail(triggered.answer.refusal())
    if triggered.status != wanted.expects.wire:
        context.fail(
            f"payment {triggered.payment_id} is {triggered.status}; {event_type} may still come:"
            f" {context.hint(f'payments show {triggered.payment_id}')}",
            ExitCode.UNDECIDED,
        )
    if wants_json:
        context.output.json(
            {
                "type": event_type,
                "payment_id": triggered.payment_id,
                "status": triggered.status,
            }
        )
    else:
        context.output.line(f"{event_type}: payment {triggered.payment_id} is {triggered.status}")


async def _pull(context: CommandContext, wanted: Trigger) -> Triggered:
    async with ApiClient(context.gateway_url(), context.api_key()) as client:
        return await pull(client, wanted)
