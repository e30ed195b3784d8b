"""What a run found, as a table for people and a document for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtest.idempotency.runner import Result, Verdict

_STYLES = {Verdict.PASSED: "green", Verdict.FAILED: "bold red", Verdict.SKIPPED: "yellow"}


def is_conformant(results: Sequence[Result]) -> bool:
    """Whether no row failed, and at least one passed: a run that tried nothing shows nothing."""
    verdicts = {result.verdict for result in results}
    return Verdict.FAILED not in verdicts and Verdict.PASSED in verdicts


def document(results: Sequence[Result], seconds: float) -> dict[str, object]:
    """Return the results as printed by ``--json``."""
    return {
        "conformant": is_conformant(results),
        **_counts(results),
        "seconds": round(seconds, 1),
        "rows": [
            {
                "name": result.row.name,
                "section": result.row.section,
                "promise": result.row.promise,
                "verdict": result.verdict,
                "reason": result.reason,
                "seconds": round(result.seconds, 2),
            }
            for result in results
        ],
    }


def write_table(console: Console, results: Sequence[Result], seconds: float) -> None:
    """Print a line a row, section by section, then the sum."""
    table = Table("row", "verdict", "s", "promise, and why it failed or was skipped", box=None)
    section = ""
    for result in results:
        if result.row.section != section:
            section = result.row.section
            table.add_row(f"[bold]{section}[/bold]")
        verdict = f"[{_STYLES[result.verdict]}]{result.verdict}[/]"
        said = result.row.promise
        if result.reason:
            said += f"\n-> {result.reason}"
        # Reasons repeat what a deployment said: brackets in it are no markup.
        table.add_row(f"  {result.row.name}", verdict, f"{result.seconds:.1f}", escape(said))
    console.print(table)
    counts = _counts(results)
    summed = ", ".join(f"{count} {name}" for name, count in counts.items())
    console.print(f"{len(results)} rows: {summed}, in {seconds:.0f} s", highlight=False)


def _counts(results: Sequence[Result]) -> dict[str, int]:
    counted = Counter(result.verdict for result in results)
    return {
        "passed": counted[Verdict.PASSED],
        "failed": counted[Verdict.FAILED],
        "skipped": counted[Verdict.SKIPPED],
    }
