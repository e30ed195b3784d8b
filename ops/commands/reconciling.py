"""``tally reconcile``: a PSP's settlement report against the books.

It asks the books directly, and writes evidence; the orders' owners decide.
"""

from __future__ import annotations

from datetime import timedelta

import click

from actors.building import psp_settings
from ops.books import actor_of, on_books
from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.number_options import timeout_option
from ops.reconciling import BREAKS_LISTED_MAX, Finding, Reconciler, Reconciliation
from psp.directory import open_psps
from psp.port import PspUnavailable
from runtime.clock import SystemClock
from storage.evidence import PostgresEvidence
from storage.read_pool import ReadPool

SINCE_H_MAX = 24 * 366


@click.command()
@click.option("--psp", "psp_name", required=True, help="Its name in the configuration.")
@click.option("--since", "since_h", default="24h", show_default=True, help="How far back: 24h.")
@timeout_option(30.0)
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
    # One in our own process keeps no record.
    if not named or named[0].kind == "in_process":
        known = ", ".join(psp.name for psp in config.psps if psp.kind != "in_process")
        context.fail(f"no PSP {psp_name!r} with a report is configured; there are: {known}")
    clock = SystemClock()

    async def act(pool: ReadPool) -> Reconciliation:
        psp = open_psps([psp_settings(named[0], config)], clock=clock)[psp_name]
        reconciler = Reconciler(
            PostgresEvidence(pool),
            psp=psp_name,
            partition_count=config.deployment.partition_count,
            actor=actor_of("reconcile"),
            wait_s=timeout_s,
        )
        since = clock.now() - timedelta(hours=int(hours))
        try:
            return await reconciler.run(psp.settlement_report(since=since), since=since)
        except PspUnavailable as unavailable:
            context.fail(str(unavailable))
        finally:
            await psp.close()

    done = on_books(context, config, act)
    _print_reconciliation(context, done, is_json=is_json_wanted(output_format, is_json))
    if break_count := done.counts[Finding.BREAK]:
        context.fail(
            f"{break_count} breaks between the report and the books, {done.absent_count} of them"
            " charges that the report does not have; nothing of them was changed"
        )


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
        "absent": done.absent_count,
    }
    if is_json:
        checked = {
            "since": None if done.absence_since is None else done.absence_since.isoformat(),
            "until": None if done.absence_until is None else done.absence_until.isoformat(),
        }
        listed = [one._asdict() for one in done.breaks]
        context.output.json({**counts, "absence_checked": checked, "listed": listed})
        return
    context.output.table("Settlement report", ("lines", "count"), list(counts.items()))
    context.output.line(absence_text(done))
    if done.breaks:
        heads = ("key", "reference", "captured", "currency", "why")
        context.output.table(f"Breaks (at most {BREAKS_LISTED_MAX})", heads, done.breaks)


def absence_text(done: Reconciliation) -> str:
    """Say of which charges it was checked that the report has them."""
    if done.absence_since is None or done.absence_until is None:
        return (
            "Not checked: whether the report has every charge of the books (it is too long to"
            " remember). Ask for less by --since, or run: tally verify"
        )
    since, until = (
        at.isoformat(timespec="seconds") for at in (done.absence_since, done.absence_until)
    )
    return (
        f"Checked, too: the report has every charge booked until {until} of orders taken in since"
        f" {since}, but for {done.absent_count}. Older ones: tally verify"
    )
