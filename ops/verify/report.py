"""What a verification found, and how programs are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from storage.verifying import Plain

Story = Mapping[str, Sequence[Mapping[str, Plain]]]
"""Part of the books -> its rows, all about one thing."""


class State(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    UNREADABLE = "unreadable"
    """It could not be made, so nothing is known: as bad as failed."""
    NO_RECORD = "no_record"
    """The PSP keeps no record to compare with: neither passed nor failed, and never counted as either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The first thing that a check found wrong."""

    place: Mapping[str, Plain]
    """Which row: partition and order, account, batch, or charge."""
    text: str
    story: Story = field(default_factory=dict)
    """Told once all checks are made: it is of both sessions."""

    def document(self) -> dict[str, object]:
        return {"place": dict(self.place), "finding": self.text, "story": self.story}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """``checked`` and ``violations`` are None where nothing is known."""

    name: str
    claim: str
    state: State
    checked: int | None = None
    violations: int | None = None
    first: Finding | None = None
    detail: str | None = None
    """Why it could not be made."""

    @property
    def is_red(self) -> bool:
        return self.state in (State.FAILED, State.UNREADABLE)

    def document(self) -> dict[str, object]:
        return {
            "name": self.name,
            "claim": self.claim,
            "state": self.state.value,
            "checked": self.checked,
            "violations": self.violations,
            "first": None if self.first is None else self.first.document(),
            "detail": self.detail,
        }


@dataclass(slots=True, kw_only=True)
class Report:
    """The whole verification."""

    checks: list[CheckResult] = field(default_factory=list)
    snapshot: Mapping[str, Plain] = field(default_factory=dict)
    charges_of_open_orders: int = 0
    charges_of_newer_orders: int = 0
    seconds: float = 0.0
    peak_memory_bytes: int = 0

    @property
    def is_ok(self) -> bool:
        """Whether everything that can be compared was, and agrees."""
        return bool(self.checks) and not any(check.is_red for check in self.checks)

    @property
    def first_red(self) -> CheckResult | None:
        """The first check that failed, or, if none did, the first that could not be made."""
        failed = [check for check in self.checks if check.state is State.FAILED]
        return next(iter(failed or [check for check in self.checks if check.is_red]), None)

    def document(self) -> dict[str, object]:
        """The document of `tally verify --json`."""
        return {
            "ok": self.is_ok,
            "checks": [check.document() for check in self.checks],
            "in_flight": {
                "charges": self.charges_of_open_orders + self.charges_of_newer_orders,
                "of_open_orders": self.charges_of_open_orders,
                "of_newer_orders": self.charges_of_newer_orders,
            },
            "snapshot": dict(self.snapshot),
            "seconds": round(self.seconds, 2),
            "peak_memory_bytes": self.peak_memory_bytes,
        }
