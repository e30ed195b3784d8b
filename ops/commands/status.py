"""``tally status``: is it healthy, where is everything, what is wrong."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import click

from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.exit_codes import ExitCode
from ops.output import Output
from ops.size_text import size_text
from ops.stack.report import status_report
from ops.stack.status_telling import decisions_text, webhooks_text
from ops.stack.store_report import print_stores


@click.command()
@output_option
@json_option
@click.pass_obj
def status(context: CommandContext, output_format: str, is_json: bool) -> None:
    """Show the stack's health, addresses, keys, hosts and processes.

    Exits with 0 when healthy, else with 3. The JSON holds secrets.
    """
    document = asyncio.run(status_report(context.root, context.environment))
    if is_json_wanted(output_format, is_json):
        context.output.json(document)
    else:
        _print(document, context.output)
    sys.exit(ExitCode.OK if document["healthy"] else ExitCode.NOT_RUNNING)


def _print(document: Mapping[str, Any], output: Output) -> None:
    is_healthy = document["healthy"]
    output.line(headline(document), style="bold green" if is_healthy else "bold red")
    if document["error"]:
        output.line(document["error"])
    for name, problem in document["problems"].items():
        output.line(f"  {name}: {problem}")
    for name, warning in document["warnings"].items():
        output.line(f"  {name}: {warning}", style="yellow")
    disk = document["disk"]
    output.line()
    output.table(
        "",
        ("", ""),
        [
            ("home", document["home"]),
            ("API", document["gateway_url"]),
            ("PSP", document["psp_url"]),
            ("orders", _orders_text(document["orders"])),
            ("to decide", _decisions_text(document["decisions"])),
            ("webhooks", webhooks_text(document["webhooks"])),
            ("data", ", ".join(f"{n} {size_text(b)}" for n, b in disk["data_bytes"].items())),
            ("logs", size_text(disk["logs_bytes"])),
            ("disk free", size_text(disk["free_bytes"])),
        ],
    )
    if any(store["primary"] for store in document["stores"].values()):
        output.line()
        print_stores(document["stores"], output)
    if document["hosts"]:
        output.line()
        output.table(
            "",
            ("host", "pid", "partitions"),
            [
                (host["name"], host["pid"], " ".join(map(str, host["partitions"])))
                for host in document["hosts"]
            ],
        )
    if document["processes"]:
        output.line()
        output.table(
            "",
            ("process", "role", "pid"),
            [(item["name"], item["role"], item["pid"]) for item in document["processes"]],
        )


def headline(document: Mapping[str, Any]) -> str:
    """Return whether it is healthy, and what waits for a person all the same."""
    health = "healthy" if document["healthy"] else "NOT healthy"
    waiting = decisions_text(document["decisions"])
    return f"{health} ({document['phase']})" + (f"; {waiting}" if waiting else "")


def _decisions_text(decisions: Mapping[str, int] | None) -> str:
    return "unknown" if decisions is None else decisions_text(decisions) or "none"


def _orders_text(orders: Mapping[str, Any] | None) -> str:
    if orders is None:
        return "unknown"
    counts = {**(orders["ended"] or {}), **orders["open"]}
    text = ", ".join(f"{count} {name}" for name, count in counts.items()) or "none yet"
    for resting in orders["waiting_for_psps"]:
        waits = "waits" if resting["orders"] == 1 else "wait"
        text += f"; {resting['orders']} {waits} for PSPs: {resting['reason']} ({resting['psp']})"
    return text if orders["ended"] is not None else f"{text}, and too many ended ones to count"
