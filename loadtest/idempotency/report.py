"""What a run found, as a table for people and a document for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console

from loadtest.idempotency.runner import Result, Verdict

_STYLES = {Verdict.PASSED: None, Verdict.FAILED: "red", Verdict.SKIPPED: "yellow"}


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
    """Print a line a row, section by section, the reason below where there is one; then the sum."""
    width = max((len(result.row.name) for result in results), default=0)
    section = ""
    for result in results:
        if result.row.section != section:
            section = result.row.section
            _write(console, section, style="bold")
        verdict, name = f"{result.verdict:<8}", f"{result.row.name:<{width}}"
        text = f"  {verdict}{name}  {result.seconds:5.1f} s  {result.row.promise}"
        _write(console, text, style=_STYLES[result.verdict])
        if result.reason:
            _write(console, f"          {result.reason}")
    summed = ", ".join(f"{count} {name}" for name, count in _counts(results).items())
    _write(console, f"{len(results)} rows: {summed}, in {seconds:.0f} s")


def _write(console: Console, text: str, style: str | None = None) -> None:
    # Reasons repeat what a deployment said: brackets in it are no markup. Long lines stay lines.
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _counts(results: Sequence[Result]) -> dict[str, int]:
    counted = Counter(result.verdict for result in results)
    return {
        "passed": counted[Verdict.PASSED],
        "failed": counted[Verdict.FAILED],
        "skipped": counted[Verdict.SKIPPED],
    }
