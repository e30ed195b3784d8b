"""``tally payments resolve``: ends an outcome that no PSP tells us.

It asks the books directly, and writes evidence; the order's owner decides.
"""

from __future__ import annotations

from uuid import UUID

import click

from ops.books import actor_of, merchants_order, on_books
from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.number_options import IntegerRange, timeout_option
from ops.reconciling import decided, key_of
from payments.attempts import ResultClass
from payments.evidence import (
    NOT_CHARGED_CODE,
    TEXT_CHARACTERS_MAX,
    TEXT_CHARACTERS_MIN,
    EvidenceSource,
)
from payments.identity import OperationKey, parse_idempotency_key, parse_operation_id
from payments.lifecycle import PaymentState
from payments.partitioning import partition_index
from payments.rows import EvidenceVerdict
from runtime.config import Config
from storage.evidence import AttemptFound, AttemptKey, PostgresEvidence, Saying
from storage.read_pool import ReadPool

REFERENCE_CHARACTERS_MAX = 200


def _printed(value: str | None, least: int, most: int) -> str | None:
    if value is None:
        return None
    text = value.strip()
    if not least <= len(text) <= most or not text.isprintable():
        raise click.BadParameter(f"{least} to {most} characters, no control characters")
    return text


def _text(_context: click.Context, _parameter: click.Parameter, value: str) -> str | None:
    return _printed(value, TEXT_CHARACTERS_MIN, TEXT_CHARACTERS_MAX)


def _reference(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> str | None:
    return _printed(value, 1, REFERENCE_CHARACTERS_MAX)


@click.command()
@click.argument("payment_id", metavar="ID")
@click.option("--charged", "is_charged", is_flag=True, help="The PSP's side says that it charged.")
@click.option(
    "--not-charged",
    "is_not_charged",
    is_flag=True,
    help="It says that it did not, and never will: for good.",
)
@click.option(
    "--amount",
    type=IntegerRange(min=1),
    help="What was charged, in minor units.  [default: the order's]",
)
@click.option("--reference", default=None, callback=_reference, help="The PSP's id of the charge.")
@click.option(
    "--evidence", "text", required=True, callback=_text, help="How you know: kept in the audit."
)
@timeout_option(30.0)
@output_option
@json_option
@click.pass_obj
def resolve(
    context: CommandContext,
    payment_id: str,
    is_charged: bool,
    is_not_charged: bool,
    amount: int | None,
    reference: str | None,
    text: str,
    timeout_s: float,
    output_format: str,
    is_json: bool,
) -> None:
    """End a payment, capture, void or refund whose outcome is unknown, by evidence.

    ID is a payment's idempotency key, with the merchant's key in TALLY_API_KEY, or its order_uuid; or the
    id of a capture, void or refund: cp_…, vd_…, rf_…. Charged then says that it was done.
    """
    key = _key_of(payment_id)
    _require_one_word(reference, amount, is_charged=is_charged, is_not_charged=is_not_charged)
    context.running_state()
    config = context.config()

    async def act(pool: ReadPool) -> tuple[AttemptFound, int | None, str, AttemptFound]:
        store = PostgresEvidence(pool)
        found = await _found(context, config, pool, key)
        _require_unknown(context, payment_id, found)
        said = _operators(found, reference, amount, is_charged=is_charged)
        numbers = await store.give([said], actor=actor_of("payments resolve"), text=text)
        verdicts = await decided(store, numbers, wait_s=timeout_s) if numbers else {}
        results = await store.results(numbers)
        detail = next((row.detail for row in results.values()), "")
        after = await store.attempts([AttemptKey(found.partition_index, found.order_uuid, None)])
        return found, next(iter(verdicts.values()), None if numbers else 0), detail, after[0]

    found, verdict, detail, after = on_books(context, config, act)
    if verdict is None:
        context.fail(
            f"{payment_id}: its partition's owner has not decided within {timeout_s:g} s."
            " The evidence is written, and will be."
        )
    if verdict != EvidenceVerdict.ACCEPTED:
        why = detail or "it ended, or went on to another attempt, just now"
        context.fail(f"{payment_id}: refused: {why}. Nothing was changed.")
    status = PaymentState(after.ended_status or 0).wire
    document = {
        "order_uuid": str(found.order_uuid),
        "psp": found.psp,
        "psp_key": key_of(found),
        "status": status,
        "failure_code": after.failure_code,
        "amount_captured": after.amount_captured_minor,
        "currency": after.currency,
    }
    if is_json_wanted(output_format, is_json):
        context.output.json(document)
    else:
        failed = f" ({NOT_CHARGED_CODE})" if after.failure_code == NOT_CHARGED_CODE else ""
        context.output.line(f"{payment_id} is {status}{failed}")


def _require_one_word(
    reference: str | None, amount_minor: int | None, *, is_charged: bool, is_not_charged: bool
) -> None:
    """Raise UsageError for words that contradict each other: what they do can't be taken back."""
    if is_charged and is_not_charged:
        raise click.UsageError("--charged and --not-charged exclude each other: say one of them")
    if not is_charged and not is_not_charged:
        raise click.UsageError("say --charged or --not-charged")
    if is_charged and reference is None:
        raise click.UsageError("--charged needs the PSP's --reference")
    if is_charged:
        return
    for option, value in (("--reference", reference), ("--amount", amount_minor)):
        if value is not None:
            raise click.UsageError(f"--not-charged goes without {option}: it tells of a charge")


def _key_of(name: str) -> UUID | OperationKey:
    """Return what an ID names. Raises UsageError."""
    key = parse_operation_id(name) or parse_idempotency_key(name)
    if key is None:
        raise click.UsageError(
            "ID is a UUID, the idempotency key or the order_uuid, or an operation's id, as rf_…"
        )
    return key


async def _found(
    context: CommandContext, config: Config, pool: ReadPool, key: UUID | OperationKey
) -> AttemptFound:
    """Find the payment: by its order_uuid, else by the key of the merchant whose API key is set; or an operation."""
    store = PostgresEvidence(pool)
    if isinstance(key, OperationKey):
        operated = await store.attempts([AttemptKey(key.partition_index, key.operation_uuid, None)])
        if not operated:
            context.fail(
                f"the books of deployment {config.deployment.id} have no such operation, or it was never begun"
            )
        return operated[0]
    uuids = [key, *await merchants_order(context, config, pool, key)]
    count = config.deployment.partition_count
    found = await store.attempts(
        [AttemptKey(partition_index(one, count), one, None) for one in uuids]
    )
    if not found:
        context.fail(
            f"the books of deployment {config.deployment.id} have no payment {key},"
            " neither as an order_uuid nor for the merchant of the API key"
        )
    return found[min(found)]


def _require_unknown(context: CommandContext, payment_id: str, found: AttemptFound) -> None:
    if found.open_attempt_no is None:
        status = PaymentState(found.ended_status or 0).wire
        context.fail(f"{payment_id} has ended: it is {status}. Nothing was changed.")
    if found.is_parked:
        context.fail(
            f"{payment_id} is parked, so that no owner touches it. Nothing was changed."
            f" Let it go on first: {context.hint('payments unpark ' + payment_id)}"
        )
    if not found.is_unknown:
        context.fail(
            f"{payment_id} is open, and its outcome is not unknown: it goes on by itself."
            " Nothing was changed."
        )


def _operators(
    found: AttemptFound, reference: str | None, amount_minor: int | None, *, is_charged: bool
) -> Saying:
    return Saying(
        partition_index=found.partition_index,
        order_no=found.order_no,
        attempt_no=found.attempt_no,
        source=EvidenceSource.OPERATOR,
        result=ResultClass.APPROVED if is_charged else ResultClass.DECLINED_FINAL,
        reference=reference,
        captured_minor=(amount_minor or found.amount_minor) if is_charged else 0,
        currency=found.currency if is_charged else None,
        effective_at=None,
    )
