"""``--reason TEXT``: why an operator does what is audited."""

from __future__ import annotations

import click

from storage.letters import REASON_CHARACTERS_MAX


def stated_reason(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> str | None:
    """Return a reason that the audit can keep, for click. Raises click.BadParameter."""
    if value is None:
        return None
    text = value.strip()
    if not 1 <= len(text) <= REASON_CHARACTERS_MAX or not text.isprintable():
        raise click.BadParameter(f"1 to {REASON_CHARACTERS_MAX} characters, no control characters")
    return text


reason_option = click.option(
    "--reason", required=True, callback=stated_reason, help="Why: kept in the audit."
)
