"""``tally payments list``: payments that have not ended, above all those of unknown outcome.

Asks the books directly, so it works while no gateway does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click

from ops.books import books_session
from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.money_text import amount_text
from ops.number_options import IntegerRange
from payments.identity import psp_key
from storage.open_payments import PAGE_MAX, OpenPayment, PostgresOpenPayments


@click.command("list")
@click.option("--unknown", "is_unknown", is_flag=True, help="Only those of unknown outcome.")
@click.option("--limit", type=IntegerRange(1, PAGE_MAX), default=20, show_default=True)
@output_option
@json_option
@click.pass_obj
def list_open(
    context: CommandContext, is_unknown: bool, limit: int, output_format: str, is_json: bool
) -> None:
    """List payments that have not ended, of all merchants, oldest first."""
    context.running_state()
    found, count = asyncio.run(_read(context, is_unknown=is_unknown, limit=limit))
    if is_json_wanted(output_format, is_json):
        context.output.json({"count": count, "payments": [document(one) for one in found]})
        return
    kind = "of unknown outcome" if is_unknown else "that have not ended"
    if not found:
        context.output.line(f"no payments {kind}")
        return
    rows = [
        (
            str(one.idempotency_key),
            str(one.order_uuid),
            one.merchant_id or "?",
            amount_text(one.amount_minor, one.currency),
            f"{one.status}{'' if one.is_outcome_known else ', unknown'}",
            one.psp or "?",
            one.accepted_at.isoformat(timespec="seconds"),
        )
        for one in found
    ]
    heads = ("payment", "order", "merchant", "amount", "status", "psp", "since")
    context.output.table(f"{count} payments {kind}, oldest first", heads, rows)


async def _read(
    context: CommandContext, *, is_unknown: bool, limit: int
) -> tuple[Sequence[OpenPayment], int]:
    config = context.config()
    async with books_session(config, "reader", "tally payments list") as pool:
        payments = PostgresOpenPayments(pool)
        return (
            await payments.oldest(is_unknown=is_unknown, count_max=limit),
            await payments.count(is_unknown=is_unknown),
        )


def document(one: OpenPayment) -> dict[str, object]:
    """A payment as JSON shows it."""
    return {
        "id": str(one.idempotency_key),
        "order_uuid": str(one.order_uuid),
        "merchant": one.merchant_id,
        "amount": one.amount_minor,
        "currency": one.currency,
        "status": one.status,
        "outcome": "known" if one.is_outcome_known else "unknown",
        "attempt": one.attempt_no,
        "psp": one.psp,
        "psp_key": psp_key(one.order_uuid, one.attempt_no),
        "next_retry_at": None if one.next_retry_at is None else one.next_retry_at.isoformat(),
        "created_at": one.accepted_at.isoformat(),
    }
