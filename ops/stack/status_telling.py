"""What the books' answers mean for whoever asks `tally status`: problems, and what waits for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ops.counting import counted
from ops.stack.host_fleet import host_name
from storage.status import Decisions, OrderCounts, Trouble


def trouble_problems(trouble: Trouble) -> dict[str, str]:
    """Return the problems that trouble makes, by what they are of."""
    found: dict[str, str] = {}
    if trouble.paused:
        found["intake"] = (
            f"partitions {list(trouble.paused)} take nothing in: most of it can't be read."
            " See tally dead-letters list"
        )
    if trouble.stalled:
        found["stalled"] = f"hosts died over partitions {list(trouble.stalled)}: see their logs"
    count = trouble.parked_order_count
    if count:
        found["parked"] = (
            f"{counted(count, 'order')} {_is(count)} parked: processes ended over"
            f" {'it' if count == 1 else 'them'}."
            " See table parked_order; tally payments unpark lets one go on"
        )
    return found


def hosts_problem(living: Sequence[str], wanted_count: int | None) -> str | None:
    """Return which hosts are missing of those that shall run; None when as many run, or nobody could say."""
    if wanted_count is None or len(living) >= wanted_count:
        return None
    missing = [name for name in map(host_name, range(wanted_count)) if name not in living]
    return (
        f"{len(living)} of {wanted_count} run: {', '.join(missing)}"
        f" {'is' if len(missing) == 1 else 'are'} not there (died and not back, or not started yet)"
    )


def orders_document(
    counts: OrderCounts | None, decisions: Decisions | None
) -> dict[str, Any] | None:
    """Return how many orders stand where. ``parked`` are those that rest until a PSP can be called."""
    if counts is None:
        return None
    return {
        "open": dict(counts.open_by_status),
        "waiting_for_psps": [
            {"psp": resting.psp, "reason": resting.reason, "orders": resting.order_count}
            for resting in counts.parked
        ],
        "ended": None if counts.ended_by_status is None else dict(counts.ended_by_status),
        "dead_letters": None if decisions is None else decisions.dead_letter_count,
    }


def decisions_document(decisions: Decisions | None) -> dict[str, int] | None:
    """Return what waits for a person, by what it is."""
    if decisions is None:
        return None
    return {
        "dead_letters": decisions.dead_letter_count,
        "contradicting_psp_events": decisions.contradicting_event_count,
        "unmatched_psp_events": decisions.unmatched_event_count,
    }


def decisions_text(decisions: Mapping[str, int] | None) -> str:
    """Return what waits for a person in one sentence without its stop; empty when nothing does."""
    if decisions is None:
        return ""
    letters = decisions["dead_letters"]
    contradicting = decisions["contradicting_psp_events"]
    unmatched = decisions["unmatched_psp_events"]
    parts = []
    if letters:
        waits = "waits" if letters == 1 else "wait"
        parts.append(f"{counted(letters, 'dead letter')} {waits} for a decision")
    if contradicting:
        verb = "contradicts" if contradicting == 1 else "contradict"
        parts.append(f"{counted(contradicting, 'PSP event')} {verb} the books")
    if unmatched:
        parts.append(f"{counted(unmatched, 'PSP event')} found no order")
    return ", ".join(parts)


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
