"""``tally merchants create``: who may sell through this stack."""

from __future__ import annotations

import asyncio

import click

from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.merchants import MerchantOffice, NewMerchant
from payments.fees import SANDBOX_FEE

# The books hold no longer names.
NAME_LENGTH_MAX = 200


@click.group()
def merchants() -> None:
    """Create merchants."""


@merchants.command()
@click.argument("name")
@output_option
@json_option
@click.pass_obj
def create(context: CommandContext, name: str, output_format: str, is_json: bool) -> None:
    """Create a merchant with a test key and the sandbox's fee. The key is shown this once."""
    if not 1 <= len(name) <= NAME_LENGTH_MAX:
        raise click.BadParameter(f"1 to {NAME_LENGTH_MAX} characters", param_hint="NAME")
    context.running_state()

    async def write() -> NewMerchant:
        office = MerchantOffice(context.config())
        try:
            return await office.create(name, fee=SANDBOX_FEE, actor="tally merchants create")
        finally:
            await office.close()

    merchant = asyncio.run(write())
    if is_json_wanted(output_format, is_json):
        context.output.json({"merchant_id": merchant.merchant_id, "api_key": merchant.api_key})
        return
    context.output.table(
        "", ("", ""), [("merchant", merchant.merchant_id), ("API key", merchant.api_key)]
    )
    context.output.line("Keep the key: it can't be shown again.")
