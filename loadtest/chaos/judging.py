"""The verdict on a run: the checker's word, the books' own, and whether everything was looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from loadtest.bench.verifying import verify
from loadtest.chaos.steady import FINAL_FILE
from loadtest.checker.checking import check
from loadtest.checker.collecting import collect
from loadtest.checker.rendering import report_document

VALID = "valid"
VIOLATED = "violated"
UNKNOWN = "unknown"
"""Something that had to be looked at could not be. Never as good as valid."""

# As `tally verify` names what it found.
_FAILED = "failed"


async def judge(
    root: Path, directory: Path, left: str | None, *, is_checked: bool, unmade: Sequence[str]
) -> dict[str, Any]:
    """Return the verdict with its reasons. ``left``: what was still under way when waiting ended.

    ``is_checked``: the load left a history that the checker reads. ``unmade``: planned cells that
    were never hit, though they could have been.
    """
    books = await verify(root)
    if not is_checked:
        return verdict_of(books, _final(directory), left, unmade=unmade)
    unread = await collect(directory)
    report = report_document(await asyncio.to_thread(check, directory))
    final = _final(directory)
    return verdict_of(books, final, left, report=report, unread=unread, unmade=unmade)


def verdict_of(
    books: Mapping[str, Any],
    final: Mapping[str, Any] | None,
    left: str | None,
    *,
    report: Mapping[str, Any] | None = None,
    unread: list[str] | None = None,
    unmade: Sequence[str] = (),
) -> dict[str, Any]:
    """Weigh what books, final reads, quiescence and checker say. A violation stands, whatever is missing."""
    violations = [
        f"{check['name']}: {check['violations']} violations"
        for check in books.get("checks", [])
        if check["state"] == _FAILED
    ]
    missing = [f"can't be read: {what}" for what in unread or []]
    if not books["ok"] and not violations:
        missing.append(
            f"the books can't be verified: {books.get('error', 'not all could be read')}"
        )
    missing += [f"{cell} was planned, and could not be made" for cell in unmade]
    if final is None:
        missing.append("there are no final reads")
    elif not final["is_complete"]:
        missing.append(f"{len(final['unread'])} payments had not ended when they were read last")
    if left is not None:
        missing.append(f"not quiet: {left}")
    if report is not None and report["verdict"] != VALID:
        into = violations if report["verdict"] == VIOLATED else missing
        into += report["reasons"]
    verdict = VIOLATED if violations else UNKNOWN if missing else VALID
    return {
        "verdict": verdict,
        "reasons": [*violations, *missing],
        "verify": dict(books),
        "checker": None if report is None else dict(report),
    }


def _final(directory: Path) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = msgspec.json.decode((directory / FINAL_FILE).read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return document
