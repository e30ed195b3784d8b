"""`tally top` against a stack as `tally up` starts it."""

from __future__ import annotations

from typing import Any

from tests.acceptance.running_stack import RunningStack


def test_top_counts_what_was_paid(stack: RunningStack) -> None:
    """Payments that were just taken are in its counts, with every process readable, Ray's hosts too."""
    before = stack.json("top", "--once", "--interval", "0.2")
    for amount in ("1999", "2000", "2001"):
        assert stack.json("pay", "--amount", amount)["payment"]["status"] == "succeeded"
    declined = stack.tally("pay", "--amount", "500", "--token", "tok_decline_do_not_honor")
    assert declined.returncode == 1
    after = stack.json("top", "--once", "--interval", "0.2")
    assert after["unreadable"] == []
    totals, totals_before = after["totals"], before["totals"]
    # The stack is shared: what other tests left open may have ended in the meantime.
    ended_count = totals_before["open_orders"] - totals["open_orders"]
    for name, count in {"accepted": 4, "taken_in": 4, "settled": 4 + ended_count}.items():
        assert totals[name] - totals_before[name] == count, name
    assert 0 <= totals["failed"] - totals_before["failed"] - 1 <= ended_count
    assert {host["name"] for host in after["hosts"]} == _names(stack.status()["hosts"])
    assert all(item["owner"] and item["stream"] is not None for item in after["partitions"])
    assert after["stores"]["standbys"][0]["sync_state"] in ("sync", "quorum")
    assert after["stores"]["replicas"][0]["silent_s"] <= 3


def test_top_prints_a_picture_where_there_is_no_terminal(stack: RunningStack) -> None:
    """Into a pipe it prints one picture and ends."""
    done = stack.tally("top", "--interval", "0.2")
    assert done.returncode == 0, done.stderr
    for word in ("accepted", "gateway-0", "host-0", "standby1", "partitions"):
        assert word in done.stdout
    assert "unreadable" not in done.stdout


def test_status_names_each_hosts_metrics(stack: RunningStack) -> None:
    """Every host's metrics have an address of their own in the status."""
    urls = [host["metrics_url"] for host in stack.status()["hosts"]]
    assert len(set(urls)) == len(urls) > 0
    assert all(url.startswith("http://127.0.0.1:") and url.endswith("/metrics") for url in urls)


def _names(items: list[dict[str, Any]]) -> set[str]:
    return {item["name"] for item in items}
