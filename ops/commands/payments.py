"""``tally pay``, ``payments show``, ``wallet``: the API as a storefront sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import quote

import click

from ops.api_client import ApiAnswer, ApiClient
from ops.books import merchants_order, on_books
from ops.commands.open_payments import list_open
from ops.commands.resolving import resolve
from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.exit_codes import ExitCode
from ops.money_text import amount_text
from ops.number_options import IntegerRange, timeout_option
from ops.receipt import Receipt, print_receipt, take_payment
from ops.stated_reasons import reason_option
from ops.unparking import unpark_payment
from payments.identity import dead_letter_id, parse_idempotency_key, parse_operation_id
from payments.partitioning import partition_index
from runtime.faults import StorageUnavailable
from storage.letters import Letter, PostgresLetters
from storage.read_pool import ReadPool

T = TypeVar("T")


@click.command()
@click.option("--amount", type=IntegerRange(min=1), required=True, help="In minor units.")
@click.option("--currency", default="USD", show_default=True)
@click.option("--token", default="tok_approve", show_default=True, help="The payment method.")
@click.option("--seller", default=None, help="Whose wallet is credited.  [default: the merchant]")
@click.option("--description", default=None)
@click.option("--key", default=None, help="The idempotency key.  [default: a new UUID]")
@output_option
@json_option
@click.pass_obj
def pay(
    context: CommandContext,
    amount: int,
    currency: str,
    token: str,
    seller: str | None,
    description: str | None,
    key: str | None,
    output_format: str,
    is_json: bool,
) -> None:
    """Post one payment order, wait for its outcome, and print the receipt."""
    order: dict[str, object] = {"amount": amount, "currency": currency, "payment_method": token}
    if seller is not None:
        order["seller"] = seller
    if description is not None:
        order["description"] = description

    async def post(client: ApiClient) -> Receipt:
        return await take_payment(client, order, idempotency_key=key)

    receipt = asyncio.run(_with_client(context, post))
    if is_json_wanted(output_format, is_json):
        context.output.json(receipt.document())
    elif not receipt.answer.is_problem:
        print_receipt(receipt, context.output, prices=context.psp_prices())
    if receipt.is_undecided:
        context.fail(
            f"{receipt.waits_for}. Ask: {context.hint(f'payments show {receipt.idempotency_key}')}",
            ExitCode.UNDECIDED,
        )
    if receipt.answer.is_problem:
        context.fail(f"payment {receipt.idempotency_key}: {receipt.answer.refusal()}")


@click.group()
def payments() -> None:
    """Look at payments, and resolve those whose outcome is unknown."""


payments.add_command(resolve)
payments.add_command(list_open)


@payments.command()
@click.argument("payment_id")
@output_option
@json_option
@click.pass_obj
def show(context: CommandContext, payment_id: str, output_format: str, is_json: bool) -> None:
    """Show a payment and its transfers. Its id is its idempotency key."""
    if parse_idempotency_key(payment_id) is None:
        raise click.UsageError(
            f"{payment_id!r} is no payment's id: that is its idempotency key, a UUID"
        )
    path = f"/v1/payments/{quote(payment_id, safe='')}"

    async def read(client: ApiClient) -> tuple[ApiAnswer, ApiAnswer]:
        payment = await client.get(path)
        return payment, payment if payment.is_problem else await client.get(f"{path}/transfers")

    payment, transfers = asyncio.run(_with_client(context, read))
    _require(context, payment)
    receipt = Receipt(
        answer=payment,
        idempotency_key=payment_id,
        transfers=[] if transfers.is_problem else transfers.body["data"],
    )
    letter = _letter_of(context, payment_id) if receipt.is_set_aside else None
    if is_json_wanted(output_format, is_json):
        document = {**payment.body, "transfers": list(receipt.transfers)}
        if letter is not None:
            document["dead_letter"] = dead_letter_id(letter.dead_letter_no)
        context.output.json(document)
    else:
        print_receipt(receipt, context.output, letter, prices=context.psp_prices())


def _letter_of(context: CommandContext, payment_id: str) -> Letter | None:
    """Return the letter that a payment is behind; None where the books can't be asked just now."""
    key = parse_idempotency_key(payment_id)
    config = context.config()

    async def read(pool: ReadPool) -> Letter | None:
        if key is None:
            return None
        for order in await merchants_order(context, config, pool, key):
            place = partition_index(order, config.deployment.partition_count)
            return await PostgresLetters(pool).of_order(place, order)
        return None

    try:
        return on_books(context, config, read)
    except StorageUnavailable:
        return None


@payments.command()
@click.argument("payment_id", metavar="ID")
@reason_option
@timeout_option(15.0)
@click.pass_obj
def unpark(context: CommandContext, payment_id: str, reason: str, timeout_s: float) -> None:
    """Let a payment, capture, void or refund go on that was parked because it ended its hosts.

    ID is a payment's idempotency key or order_uuid, or an operation's id: cp_…, vd_…, rf_… or xp_….
    """
    operation = parse_operation_id(payment_id)
    key = parse_idempotency_key(payment_id) if operation is None else operation.operation_uuid
    if key is None:
        raise click.UsageError("ID is a UUID, or an operation's id, as rf_…")
    context.running_state()
    unparked = asyncio.run(
        unpark_payment(context.config(), key, reason=reason, timeout_s=timeout_s)
    )
    if isinstance(unparked, str):
        context.fail(unparked)
    if not unparked:
        context.fail(f"payment {payment_id} is still parked: its owner has not answered yet")
    context.output.line(f"payment {payment_id} goes on")


@click.command()
@click.argument("owner", default="me")
@output_option
@json_option
@click.pass_obj
def wallet(context: CommandContext, owner: str, output_format: str, is_json: bool) -> None:
    """Show the balances of a seller's wallet (default: the merchant's own)."""

    async def read(client: ApiClient) -> ApiAnswer:
        return await client.get(f"/v1/wallets/{quote(owner, safe='')}")

    answer = asyncio.run(_with_client(context, read))
    _require(context, answer)
    if is_json_wanted(output_format, is_json):
        context.output.json(dict(answer.body))
        return
    rows = [
        tuple(
            amount_text(balance[name], balance["currency"])
            for name in ("posted", "pending", "available")
        )
        for balance in answer.body["balances"]
    ]
    context.output.table(
        f"Wallet of {answer.body['owner']} as of {answer.body['as_of']}",
        ("posted", "pending", "available"),
        rows,
    )


async def _with_client(context: CommandContext, work: Callable[[ApiClient], Awaitable[T]]) -> T:
    async with ApiClient(context.gateway_url(), context.api_key()) as client:
        return await work(client)


def _require(context: CommandContext, answer: ApiAnswer) -> None:
    if answer.is_problem:
        context.fail(answer.refusal())
