"""``tally up``, ``down``, ``reset``, ``migrate``: the life of a stack."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from pathlib import Path

import click

from ops.api_client import ApiClient
from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.output import Output
from ops.receipt import DEMONSTRATION_ORDER, Receipt, print_receipt, take_payment
from ops.stack.books import apply_migrations
from ops.stack.client import start_stack, stop_stack
from ops.stack.config_file import CONFIG_FILE
from ops.stack.settings import StackSettings, passed_environment, port_base_of
from ops.stack.state import STATE_FILE, StackState, read_state

# What `tally reset` deletes. Not the home itself, and not the operator's overrides.
_RESET_NAMES = ("data", "secrets", "logs", "run", "cache", CONFIG_FILE)


@click.command()
@click.option("--hosts-without-ray", is_flag=True, help="Run partition hosts as plain processes.")
@click.option("--no-demo", is_flag=True, help="Take no demonstration payment.")
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), help="The stack's home.")
@click.pass_obj
def up(context: CommandContext, hosts_without_ray: bool, no_demo: bool, home: Path | None) -> None:
    """Start the stack in the background, and take a demonstration payment.

    The second time it goes on with the same data. TALLY_PORT_BASE moves all ports (0: free ones).
    """
    started_at_s = time.monotonic()
    output = context.output
    settings = StackSettings(
        root=home.absolute() if home else context.root,
        port_base=port_base_of(context.environment),
        is_ray_used=not hosts_without_ray,
        passed_environment=passed_environment(context.environment),
    )
    before = read_state(settings.root)
    is_running = before is not None and before.is_daemon_alive
    output.progress(f"Stack of {settings.root}")
    state = start_stack(settings, output.progress)
    took_s = time.monotonic() - started_at_s
    output.progress("Running already" if is_running else f"Running after {took_s:.1f} s")
    context = CommandContext(
        root=settings.root,
        environment=context.environment,
        output=context.output,
        is_home_given=context.is_home_given or home is not None,
    )
    if not no_demo:
        receipt = asyncio.run(_demonstrate(context))
        output.line()
        print_receipt(receipt, output, prices=context.psp_prices())
        if not receipt.is_succeeded:
            context.fail(
                "the stack runs, but the demonstration payment has not succeeded. "
                f"See {context.hint('status')}, and the logs in {settings.root / 'logs'}"
            )
    _print_what_next(state, context)


async def _demonstrate(context: CommandContext) -> Receipt:
    async with ApiClient(context.gateway_url(), context.api_key()) as client:
        return await take_payment(client, DEMONSTRATION_ORDER)


def _print_what_next(state: StackState, context: CommandContext) -> None:
    output: Output = context.output
    if state.addresses is None:
        return
    tally = Path(sys.argv[0]).absolute()
    name = str(tally.relative_to(Path.cwd())) if tally.is_relative_to(Path.cwd()) else "tally"
    key = context.api_key()
    url = state.addresses.gateway_url
    body = json.dumps({"amount": 1250, "currency": "EUR", "payment_method": "tok_approve"})
    output.line()
    output.table(
        "",
        ("", ""),
        [
            ("API", url),
            ("API key", key),
            ("PSP simulator", state.addresses.psp_url),
            ("configuration", context.root / CONFIG_FILE),
            ("logs", context.root / "logs"),
        ],
    )
    output.line()
    output.line("Try next:", style="bold")
    pay = "pay --amount 2500 --currency EUR --token tok_decline_insufficient_funds"
    output.line(f"  {context.hint(pay, program=name)}")
    output.line(f"  {context.hint('status', program=name)}")
    output.line(
        f"  curl -i {url}/v1/payments -H 'Authorization: Bearer {key}' "
        f"-H 'Idempotency-Key: '$(cat /proc/sys/kernel/random/uuid) "
        f"-H 'Content-Type: application/json' -H 'Prefer: wait=10' -d '{body}'"
    )
    output.line(f"Stop it with: {context.hint('down', program=name)}")


@click.command()
@click.pass_obj
def down(context: CommandContext) -> None:
    """Stop the stack, and whatever a stack that died has left. The data stays."""
    had_any = stop_stack(context.root, context.output.progress)
    context.output.line("Stopped." if had_any else "Nothing was running.")


@click.command()
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.pass_obj
def reset(context: CommandContext, yes: bool) -> None:
    """Delete the stack's data, secrets and logs. Only after `tally down`."""
    root = context.root
    state = read_state(root)
    if state is not None and state.is_daemon_alive:
        context.fail(f"the stack is running: {context.hint('down')} first")
    if not (root / "run" / STATE_FILE).exists() and not (root / "data" / "stack_id").exists():
        context.output.line(f"There is no stack in {root}.")
        return
    if not yes:
        click.confirm(f"Delete all payments, keys and logs in {root}?", abort=True, err=True)
    # Servers that a dead daemon left would go on writing into what we delete.
    stop_stack(root, context.output.progress)
    for name in _RESET_NAMES:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    context.output.line(f"Deleted the stack in {root}.")


@click.command()
@output_option
@json_option
@click.pass_obj
def migrate(context: CommandContext, output_format: str, is_json: bool) -> None:
    """Bring the running stack's books up to this code. `tally up` does the same."""
    context.running_state()
    applied = asyncio.run(apply_migrations(context.config(), context.root))
    if is_json_wanted(output_format, is_json):
        context.output.json({"applied": list(applied)})
    elif applied:
        context.output.table("Applied", ("migration",), [(name,) for name in applied])
    else:
        context.output.line("Nothing to do: the books are up to date.")
