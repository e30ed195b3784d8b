"""How a check's result is made, whatever it looked at."""

from __future__ import annotations

from ops.verify import checks
from ops.verify.report import CheckResult, Finding, State
from storage.verifying import Examined


def result_of(shown: str, examined: Examined) -> CheckResult:
    """Passed, or failed with the first row found. Its story is told when all checks are made."""
    finding = None
    if examined.first is not None:
        place = {name: value for name, value in examined.first.items() if name != "finding"}
        finding = Finding(
            place=place,
            text=str(examined.first["finding"]),
        )
    return CheckResult(
        name=shown,
        claim=_claim(shown),
        state=State.FAILED if examined.violations else State.PASSED,
        checked=examined.checked,
        violations=examined.violations,
        first=finding,
    )


def unreadable(shown: str, reason: str) -> CheckResult:
    """Nothing is known: as bad as failed."""
    return CheckResult(name=shown, claim=_claim(shown), state=State.UNREADABLE, detail=reason)


def without_record(shown: str) -> CheckResult:
    """There is nothing to compare with."""
    return CheckResult(
        name=shown,
        claim=_claim(shown),
        state=State.NO_RECORD,
        detail="this PSP keeps no record to compare with",
    )


def _claim(shown: str) -> str:
    return checks.EVERY[shown.partition(":")[0]]
