"""What status makes of the books' answers."""

from __future__ import annotations

from typing import Any

import pytest

from ops.commands.status import headline
from ops.stack.status_telling import (
    decisions_document,
    hosts_problem,
    orders_document,
    trouble_problems,
    webhook_problem,
    webhook_warnings,
    webhooks_document,
    webhooks_text,
)
from storage.status import Decisions, OrderCounts, ParkedCount, Trouble, WebhookStatus


def _document(letters: int, contradicting: int, unmatched: int) -> dict[str, Any]:
    decisions = Decisions(
        dead_letter_count=letters,
        contradicting_event_count=contradicting,
        unmatched_event_count=unmatched,
    )
    return {"healthy": True, "phase": "running", "decisions": decisions_document(decisions)}


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ((0, 0, 0), "healthy (running)"),
        ((1, 0, 0), "healthy (running); 1 dead letter waits for a decision"),
        (
            (2, 1, 0),
            "healthy (running); 2 dead letters wait for a decision, 1 PSP event contradicts",
        ),
        ((0, 2, 3), "healthy (running); 2 PSP events contradict the books, 3 PSP events found no"),
    ],
)
def test_the_headline_says_what_waits_for_a_person(counts: tuple[int, int, int], text: str) -> None:
    """Healthy, and not all: what only a person decides stands beside it."""
    told = headline(_document(*counts))
    assert told.startswith(text)
    assert (";" in told) is any(counts)


def test_what_could_not_be_asked_is_not_none() -> None:
    """Without an answer of the books the headline claims nothing, and JSON holds null."""
    document = {"healthy": False, "phase": "running", "decisions": decisions_document(None)}
    assert headline(document) == "NOT healthy (running)"
    assert document["decisions"] is None


def test_orders_that_wait_for_psps_are_not_called_parked() -> None:
    """Parked is what unpark lets go on; the others go on by themselves."""
    counts = OrderCounts(
        open_by_status={"processing": 3},
        parked=[ParkedCount(psp="psp_1", reason="psp_down", order_count=2)],
        ended_by_status=None,
    )
    document = orders_document(counts, None)
    assert document is not None
    assert document["waiting_for_psps"] == [{"psp": "psp_1", "reason": "psp_down", "orders": 2}]
    assert "parked" not in document
    problems = trouble_problems(Trouble(paused=[], stalled=[], parked_order_count=1))
    assert problems["parked"].startswith("1 order is parked")


@pytest.mark.parametrize(
    ("living", "wanted", "missing"),
    [
        (["host-0", "host-1"], 2, None),
        (["host-0", "host-1", "host-2"], 2, None),
        (["host-1"], 2, "1 of 2 run: host-0 is not there"),
        ([], 2, "0 of 2 run: host-0, host-1 are not there"),
    ],
)
def test_a_host_that_is_not_back_is_named(
    living: list[str], wanted: int, missing: str | None
) -> None:
    """While fewer run than shall run, status says which, whoever owns the partitions now."""
    told = hosts_problem(living, wanted)
    assert told is None if missing is None else told is not None and told.startswith(missing)


def _webhooks(**changes: Any) -> WebhookStatus:
    found: dict[str, Any] = {
        "endpoint_counts": {"enabled": 2},
        "waiting_count": 3,
        "lead_name": "dispatcher",
        "metrics_address": "127.0.0.1:9",
        "beat_age_s": 0.5,
        "behind_s": 0.25,
        "held_up_s": 0.0,
        **changes,
    }
    return WebhookStatus(**found)


@pytest.mark.parametrize(
    ("webhooks", "problem"),
    [
        (_webhooks(), None),
        (_webhooks(beat_age_s=30.0), "no sign of life for 30 s: webhooks wait"),
        (_webhooks(beat_age_s=None), "no dispatcher has ever led: webhooks wait"),
        (_webhooks(beat_age_s=None, endpoint_counts={}), None),
        (_webhooks(beat_age_s=99.0, endpoint_counts={"paused": 1}), None),
        (None, None),
    ],
)
def test_a_dispatcher_is_missed_where_there_are_endpoints(
    webhooks: WebhookStatus | None, problem: str | None
) -> None:
    """A stack is not healthy while webhooks wait for nobody; without endpoints none do."""
    assert webhook_problem(webhooks) == problem


def test_what_a_merchant_or_a_session_causes_is_a_warning() -> None:
    """Stopped endpoints, a lag and a feed that is held up are told, and leave the stack healthy."""
    assert webhook_warnings(_webhooks()) == {}
    assert webhook_warnings(None) == {}
    warnings = webhook_warnings(
        _webhooks(
            endpoint_counts={"enabled": 1, "paused": 2, "gone": 1}, behind_s=90.0, held_up_s=61.0
        )
    )
    assert "2 paused, 1 gone" in warnings["webhooks"]
    assert warnings["dispatcher"].startswith("90 s behind")
    assert "held up for 61 s" in warnings["feed"]


def test_how_webhooks_fare_stands_in_one_line() -> None:
    """Endpoints by status, the lag and what waits; what nobody could tell is said as unknown."""
    assert webhooks_text(webhooks_document(_webhooks())) == "2 enabled; 0.2 s behind; 3 waiting"
    assert webhooks_text(webhooks_document(_webhooks(endpoint_counts={}))) == "no endpoints"
    assert webhooks_text(None) == "unknown"
    document = webhooks_document(_webhooks())
    assert document is not None
    assert document["metrics_url"] == "http://127.0.0.1:9/metrics"
