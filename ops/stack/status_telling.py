"""What the books' answers mean for whoever asks `tally status`: problems, and what waits for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ops.counting import counted
from ops.stack.host_fleet import host_name
from storage.status import Decisions, OrderCounts, Trouble, WebhookStatus

# A dispatcher beats each second; one that has not for so long is gone, or stands still.
BEAT_AGE_S_MAX = 10.0
# Events reach healthy endpoints within a second or two.
BEHIND_S_MAX = 60.0


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


def webhook_problem(webhooks: WebhookStatus | None) -> str | None:
    """Return what is wrong with the dispatcher; without endpoints nobody misses it."""
    if webhooks is None or not webhooks.endpoint_counts.get("enabled"):
        return None
    if webhooks.beat_age_s is None:
        return "no dispatcher has ever led: webhooks wait"
    if webhooks.beat_age_s > BEAT_AGE_S_MAX:
        return f"no sign of life for {webhooks.beat_age_s:.0f} s: webhooks wait"
    return None


def webhook_warnings(webhooks: WebhookStatus | None) -> dict[str, str]:
    """Return what somebody should look at, though nothing of ours is broken."""
    if webhooks is None:
        return {}
    found: dict[str, str] = {}
    stopped = {
        word: webhooks.endpoint_counts[word]
        for word in ("paused", "gone")
        if webhooks.endpoint_counts.get(word)
    }
    if stopped:
        counts = ", ".join(f"{count} {word}" for word, count in stopped.items())
        found["webhooks"] = (
            f"endpoints that get nothing any more: {counts}. See tally webhooks list"
        )
    if (webhooks.behind_s or 0.0) > BEHIND_S_MAX:
        found["dispatcher"] = f"{webhooks.behind_s:.0f} s behind. See tally webhooks list"
    if (webhooks.held_up_s or 0.0) > BEHIND_S_MAX:
        found["feed"] = (
            f"held up for {webhooks.held_up_s:.0f} s by one transaction: see pg_stat_activity"
        )
    return found


def webhooks_document(webhooks: WebhookStatus | None) -> dict[str, Any] | None:
    """Return how webhooks fare, as JSON."""
    if webhooks is None:
        return None
    return {
        "endpoints": dict(webhooks.endpoint_counts),
        "waiting": webhooks.waiting_count,
        "dispatcher": webhooks.lead_name,
        "beat_age_s": webhooks.beat_age_s,
        "behind_s": webhooks.behind_s,
        "feed_held_up_s": webhooks.held_up_s,
        "metrics_url": f"http://{webhooks.metrics_address}/metrics"
        if webhooks.metrics_address
        else None,
    }


def webhooks_text(webhooks: Mapping[str, Any] | None) -> str:
    """Return the same in a line."""
    if webhooks is None:
        return "unknown"
    counts = ", ".join(f"{count} {word}" for word, count in webhooks["endpoints"].items())
    if not counts:
        return "no endpoints"
    behind = webhooks["behind_s"]
    lag = "" if behind is None else f"; {behind:.1f} s behind"
    return f"{counts}{lag}; {webhooks['waiting']} waiting"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
