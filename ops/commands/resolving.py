"""``tally payments resolve`` and ``tally reconcile``: ends of outcomes that no PSP tells us.

Both ask the books directly, and write evidence; the order's owner decides.
"""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import click

from actors.building import psp_settings
from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.reconciling import BREAKS_LISTED_MAX, Finding, Reconciler, Reconciliation, decided, key_of
from payments.attempts import ResultClass
from payments.evidence import (
    NOT_CHARGED_CODE,
    TEXT_CHARACTERS_MAX,
    TEXT_CHARACTERS_MIN,
    EvidenceSource,
)
from payments.identity import order_uuid, parse_idempotency_key
from payments.lifecycle import PaymentState
from payments.partitioning import partition_index
from payments.rows import EvidenceVerdict
from psp.directory import open_psps
from psp.port import PspUnavailable
from runtime.clock import SystemClock
from runtime.config import Config
from storage.api_keys import matches, parse_api_key
from storage.deployments import read_deployment
from storage.directory import PostgresDirectory
from storage.evidence import AttemptFound, AttemptKey, PostgresEvidence, Saying
from storage.opening import read_pool
from storage.read_pool import ReadPool

T = TypeVar("T")

REFERENCE_CHARACTERS_MAX = 200
SINCE_H_MAX = 24 * 366


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
@click.option(
    "--charged/--not-charged", "is_charged", default=None, help="What the PSP's side says."
)
@click.option(
    "--amount",
    type=click.IntRange(min=1),
    help="What was charged, in minor units.  [default: the order's]",
)
@click.option("--reference", default=None, callback=_reference, help="The PSP's id of the charge.")
@click.option(
    "--evidence", "text", required=True, callback=_text, help="How you know: kept in the audit."
)
@click.option("--timeout-s", type=float, default=30.0, show_default=True)
@output_option
@json_option
@click.pass_obj
def resolve(
    context: CommandContext,
    payment_id: str,
    is_charged: bool | None,
    amount: int | None,
    reference: str | None,
    text: str,
    timeout_s: float,
    output_format: str,
    is_json: bool,
) -> None:
    """End a payment whose outcome is unknown, by evidence.

    ID is its idempotency key, with the merchant's key in TALLY_API_KEY, or its order_uuid.
    """
    key = parse_idempotency_key(payment_id)
    if key is None:
        raise click.UsageError("ID is a UUID: the idempotency key, or the order_uuid")
    if is_charged is None:
        raise click.UsageError("say --charged or --not-charged")
    if is_charged and reference is None:
        raise click.UsageError("--charged needs the PSP's --reference")
    config = context.config()

    async def act(pool: ReadPool) -> tuple[AttemptFound, int | None, str, AttemptFound]:
        store = PostgresEvidence(pool)
        found = await _found(context, config, pool, key)
        _require_unknown(context, payment_id, found)
        said = _operators(found, reference, amount, is_charged=is_charged)
        numbers = await store.give([said], actor=_actor("payments resolve"), text=text)
        verdicts = await decided(store, numbers, wait_s=timeout_s) if numbers else {}
        results = await store.results(numbers)
        detail = next((row.detail for row in results.values()), "")
        after = await store.attempts([AttemptKey(found.partition_index, found.order_uuid, None)])
        return found, next(iter(verdicts.values()), None if numbers else 0), detail, after[0]

    found, verdict, detail, after = _run(context, config, act)
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


@click.command()
@click.option("--psp", "psp_name", required=True, help="Its name in the configuration.")
@click.option("--since", "since_h", default="24h", show_default=True, help="How far back: 24h.")
@click.option("--timeout-s", type=float, default=30.0, show_default=True)
@output_option
@json_option
@click.pass_obj
def reconcile(
    context: CommandContext,
    psp_name: str,
    since_h: str,
    timeout_s: float,
    output_format: str,
    is_json: bool,
) -> None:
    """Resolve unknown outcomes by a PSP's settlement report; list what contradicts the books."""
    hours = since_h.removesuffix("h")
    if not (hours.isascii() and hours.isdigit() and 1 <= int(hours) <= SINCE_H_MAX):
        raise click.UsageError(f"--since: 1h to {SINCE_H_MAX}h")
    config = context.config()
    named = [psp for psp in config.psps if psp.name == psp_name]
    if not named or not named[0].url:
        known = ", ".join(psp.name for psp in config.psps if psp.url)
        context.fail(f"no PSP {psp_name!r} with a report is configured; there are: {known}")
    clock = SystemClock()

    async def act(pool: ReadPool) -> Reconciliation:
        psp = open_psps([psp_settings(named[0], config)], clock=clock)[psp_name]
        reconciler = Reconciler(
            PostgresEvidence(pool),
            psp=psp_name,
            partition_count=config.deployment.partition_count,
            actor=_actor("reconcile"),
            wait_s=timeout_s,
        )
        report = psp.settlement_report(since=clock.now() - timedelta(hours=int(hours)))
        try:
            return await reconciler.run(report)
        except PspUnavailable as unavailable:
            context.fail(str(unavailable))
        finally:
            await psp.close()

    done = _run(context, config, act)
    _print_reconciliation(context, done, is_json=is_json_wanted(output_format, is_json))
    if break_count := done.counts[Finding.BREAK]:
        context.fail(f"{break_count} lines contradict the books; nothing of them was changed")


def _print_reconciliation(context: CommandContext, done: Reconciliation, *, is_json: bool) -> None:
    counts = {
        "lines": done.line_count,
        "matched": done.counts[Finding.MATCHED],
        "resolved": done.resolved_count,
        "refused": done.refused_count,
        "undecided": done.undecided_count,
        "under_way": done.counts[Finding.UNDER_WAY],
        "not_ours": done.counts[Finding.FOREIGN],
        "still_unknown": done.unknown_count,
        "breaks": done.counts[Finding.BREAK],
    }
    if is_json:
        context.output.json({**counts, "listed": [one._asdict() for one in done.breaks]})
        return
    context.output.table("Settlement report", ("lines", "count"), list(counts.items()))
    if done.breaks:
        heads = ("key", "reference", "captured", "currency", "why")
        context.output.table(f"Breaks (at most {BREAKS_LISTED_MAX})", heads, done.breaks)


async def _found(
    context: CommandContext, config: Config, pool: ReadPool, key: UUID
) -> AttemptFound:
    """Find the payment: by its order_uuid, else by the key of the merchant whose API key is set."""
    store = PostgresEvidence(pool)
    uuids = [key]
    text = context.api_key()
    parsed = parse_api_key(text)
    record = None if parsed is None else await PostgresDirectory(pool).api_key(parsed.key_id)
    pepper = config.secret(config.secrets.api_key_pepper_file).encode()
    if record is not None and record.merchant_id and matches(record, text, pepper):
        uuids.append(order_uuid(record.merchant_id, record.mode, key))
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
            f" Let it go on first: {context.hint('payments unpark ' + str(found.order_uuid))}"
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


def _run(context: CommandContext, config: Config, work: Callable[[ReadPool], Awaitable[T]]) -> T:
    async def run() -> T:
        pool = read_pool(
            config,
            config.postgres.shards[0],
            "gateway",
            application_name="tally evidence",
            session_count_max=1,
        )
        try:
            stored = await pool.run(read_deployment)
            if stored is None or stored.deployment_id != config.deployment.id:
                context.fail("the books are of another deployment than the configuration")
            return await work(pool)
        finally:
            await pool.close()

    context.running_state()
    return asyncio.run(run())


def _actor(command: str) -> str:
    return f"tally {command} ({getpass.getuser()})"
