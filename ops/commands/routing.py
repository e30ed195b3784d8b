"""``tally route``: which PSPs a payment would go to, and why. Nothing is asked, and nothing is sent."""

from __future__ import annotations

from uuid import UUID

import click

from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.number_options import IntegerRange
from payments.identity import order_uuid
from payments.mode import Mode
from payments.routing import Ask
from payments.routing_table import Explanation
from psp.routes import table_of

_NIL = UUID(int=0)


@click.group()
def route() -> None:
    """See how payments are routed among the PSPs."""


@route.command()
@click.option("--amount", type=IntegerRange(min=1), required=True, help="In minor units.")
@click.option("--currency", required=True, help="ISO 4217, such as EUR.")
@click.option("--payment-method", required=True, help="The token, or how it begins.")
@click.option("--merchant", default="", help="The merchant's id.")
@click.option("--mode", type=click.Choice(["test", "live"]), default="test", show_default=True)
@click.option(
    "--idempotency-key",
    type=click.UUID,
    default=_NIL,
    help="Weights are drawn by the order's id, which follows from its key.",
)
@click.option("--refusing", multiple=True, help="As if the breaker of this PSP were open.")
@click.option(
    "--success",
    multiple=True,
    metavar="PSP=PERCENT",
    help="As if so many of its latest charges had been approved.",
)
@output_option
@json_option
@click.pass_obj
def explain(
    context: CommandContext,
    amount: int,
    currency: str,
    payment_method: str,
    merchant: str,
    mode: str,
    idempotency_key: UUID,
    refusing: tuple[str, ...],
    success: tuple[str, ...],
    output_format: str,
    is_json: bool,
) -> None:
    """Tell what each routing rule says to a payment, and in which order PSPs would be asked."""
    config = context.config()
    names = [psp.name for psp in config.psps]
    percents = dict(_percent(context, text) for text in success)
    for name in (*refusing, *percents):
        if name not in names:
            raise click.UsageError(f"no PSP {name!r} is configured; there are: {', '.join(names)}")
    chosen = Mode.LIVE if mode == "live" else Mode.TEST
    ask = Ask(
        token=payment_method,
        currency=currency,
        amount_minor=amount,
        merchant_id=merchant,
        mode=chosen,
        order_uuid=order_uuid(merchant, chosen, idempotency_key),
    )
    explanation = table_of(config).explain(
        ask, avoiding=frozenset(refusing), success_percents=percents
    )
    _print(context, explanation, is_json=is_json_wanted(output_format, is_json))


def _percent(context: CommandContext, text: str) -> tuple[str, int]:
    name, _, percent = text.partition("=")
    if not (percent.isascii() and percent.isdigit() and int(percent) <= 100):
        raise click.UsageError(f"--success {text!r}: use PSP=PERCENT, such as simulator=70")
    return name, int(percent)


def _print(context: CommandContext, explanation: Explanation, *, is_json: bool) -> None:
    if is_json:
        context.output.json(
            {
                "object": "route",
                "rules": [rule._asdict() for rule in explanation.rules],
                "psps": [
                    {
                        "psp": said.psp,
                        "place": said.place,
                        "cost": cost_text(said.cost_ten_thousandths),
                        "why": said.why,
                    }
                    for said in explanation.psps
                ],
            }
        )
        return
    rules = [
        (said.rule, "yes" if said.has_matched else "no", said.why) for said in explanation.rules
    ]
    if rules:
        context.output.table("Rules, the first that matches decides", _RULE_HEADS, rules)
    else:
        context.output.line("No routing rule is configured.")
    psps = [
        (said.place or "-", said.psp, cost_text(said.cost_ten_thousandths), said.why)
        for said in explanation.psps
    ]
    context.output.table("PSPs, in the order in which they are asked", _PSP_HEADS, psps)


_RULE_HEADS = ("rule", "matches", "why")
_PSP_HEADS = ("place", "psp", "cost in minor units", "why")


def cost_text(ten_thousandths: int) -> str:
    """Return a cost in minor units: exact, without zeros at its end."""
    whole, rest = divmod(ten_thousandths, 10_000)
    return f"{whole}.{rest:04d}".rstrip("0").rstrip(".")
