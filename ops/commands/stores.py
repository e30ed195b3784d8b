"""``tally stores``: who leads, let the other copy lead, accept one copy for a time."""

from __future__ import annotations

import asyncio
import re

import click

from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.exit_codes import ExitCode
from ops.local.copies import RECORD_FILES
from ops.stack.offline_promotion import promote_stopped
from ops.stack.state import read_state
from ops.stack.store_report import print_history, print_stores, store_documents
from ops.stack.store_requests import StoreRequest, ask_daemon
from runtime.clock import SystemClock

# A promotion may wait for a copy that is just being made.
ANSWER_TIMEOUT_S = 120.0

# Longer than a night is no emergency: mend the second copy, or run with another configuration.
ONE_COPY_S_MAX = 12 * 3600

_TERM = re.compile(r"([0-9]{1,5})(s|m|h)", re.ASCII)
_UNIT_S = {"s": 1, "m": 60, "h": 3600}

_store = click.argument("store", type=click.Choice(sorted(RECORD_FILES)))


class Term(click.ParamType):  # type: ignore[type-arg]  # generic for type checkers alone
    """A time such as 90s, 15m or 2h, in seconds."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Raises BadParameter."""
        if isinstance(value, float):
            return value
        found = _TERM.fullmatch(str(value))
        if found is None:
            self.fail("write it as 90s, 15m or 2h", param, ctx)
        term_s = float(found[1]) * _UNIT_S[found[2]]
        if not 1 <= term_s <= ONE_COPY_S_MAX:
            self.fail(f"1s to {ONE_COPY_S_MAX // 3600}h", param, ctx)
        return term_s


@click.group()
def stores() -> None:
    """The copies of Postgres and Redis: who leads, who is in step."""


@stores.command("status")
@output_option
@json_option
@click.pass_obj
def show(context: CommandContext, output_format: str, is_json: bool) -> None:
    """Show the roles, who holds everything acknowledged, and what was done to the servers."""
    state = read_state(context.root)
    is_running = state is not None and state.is_daemon_alive
    problems = {} if state is None else state.problems
    documents = store_documents(context.root, problems, is_running=is_running)
    if is_json_wanted(output_format, is_json):
        context.output.json(documents)
        return
    print_stores(documents, context.output)
    for name, problem in sorted(problems.items()):
        context.output.line(f"  {name}: {problem}")
    context.output.line()
    print_history(documents, context.output)


@stores.command()
@_store
@click.option(
    "--force",
    is_flag=True,
    help="Also a copy that may lack acknowledged orders. Only in place of a dead primary.",
)
@click.pass_obj
def promote(context: CommandContext, store: str, force: bool) -> None:
    """Kill the primary of STORE and let the other copy lead.

    The stack does this by itself when the primary's data is gone. Refused when the other copy is
    not known to hold everything that was acknowledged. Works on a stopped stack, too.
    """
    actor = "tally stores promote"
    state = read_state(context.root)
    if state is None or not state.is_daemon_alive:
        told = asyncio.run(
            promote_stopped(context.root, store, actor=actor, is_forced=force, clock=SystemClock())
        )
        context.output.line(told)
        return
    _ask(context, StoreRequest(action="promote", store=store, actor=actor, is_forced=force))


@stores.command("accept-one-copy")
@_store
@click.option("--for", "for_s", type=Term(), required=True, help="90s, 15m, 2h: at most 12h.")
@click.pass_obj
def accept_one_copy(context: CommandContext, store: str, for_s: float) -> None:
    """Have STORE acknowledge on its primary alone for a time, while the other copy is away.

    What is acknowledged then is lost if the primary's disk is. Ends by itself; audited.
    """
    context.running_state()
    actor = "tally stores accept-one-copy"
    _ask(context, StoreRequest(action="accept_one_copy", store=store, actor=actor, for_s=for_s))


def _ask(context: CommandContext, request: StoreRequest) -> None:
    told = ask_daemon(context.root, request, timeout_s=ANSWER_TIMEOUT_S)
    if told is None:
        context.fail(
            f"the stack did not answer within {ANSWER_TIMEOUT_S:.0f} s."
            f" See: {context.hint('stores status')}",
            ExitCode.NOT_RUNNING,
        )
    if not told.is_done:
        context.fail(told.text)
    context.output.line(told.text)
