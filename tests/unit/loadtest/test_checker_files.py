"""The checker's files and words: what is searched, loaded and printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loadtest.checker.__main__ import main
from loadtest.checker.books_rows import books_records, snapshot_record
from loadtest.checker.checking import check_records
from loadtest.checker.leaks import search_home
from loadtest.checker.loading import load_records
from loadtest.checker.records import FaultPhase, QueueLeft
from loadtest.checker.rendering import report_document, report_lines, state_of
from loadtest.checker.report import Verdict
from tests.unit.loadtest.checked_world import valid_records
from tests.unit.loadtest.planted import PLANTED

CANARY = "4242 4242"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A stack's home with a log, a queue's file and a secret."""
    for folder in ("logs", "data/valkey-1", "data/postgres-1", "secrets"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "secrets" / "valkey").write_text("a-very-long-secret\n")
    (tmp_path / "logs" / "gateway.log").write_text("all is well\n")
    return tmp_path


def test_a_clean_home_has_no_leaks(home: Path) -> None:
    """A search tells how much it looked at, so that nothing found can be told from nothing searched."""
    search = search_home(home, [CANARY])
    assert search.leaks == []
    assert search.bytes_scanned == len("all is well\n")


@pytest.mark.parametrize(
    ("path", "text", "what"),
    [
        ("logs/host.log", f"x {CANARY} y", "canary 0"),
        ("logs/host.log", "password a-very-long-secret", "secret valkey"),
        ("logs/host.log", "to a.buyer@example.org", "personal 0"),
        ("data/valkey-1/appendonly.aof", f"{CANARY} of a.buyer@example.org", "canary 0"),
    ],
)
def test_leaks_are_found_and_not_repeated(home: Path, path: str, text: str, what: str) -> None:
    """A canary in a log or the queue's file, and a secret in a log, are named by place, never shown."""
    (home / path).write_text(text)
    leaks = search_home(home, [CANARY], ["a.buyer@example.org"]).leaks
    assert leaks == [(path, what)]
    assert CANARY not in str(leaks)


def test_rows_of_the_books_become_records_with_names() -> None:
    """Numbers that the books store are told as names; orders that wait for a person say why."""
    tables: dict[str, Any] = {
        name: []
        for name in (
            *("attempts", "accounts", "slices", "batches", "partitions", "refused"),
            *("dead_letters", "outcomes", "events", "transfers"),
        )
    }
    order = [0, 1, "uuid", "mrc", 1, "key", "seller", 5, "USD", 1, "ff", '{"b": "2", "a": "1"}', 9]
    tables |= {
        "orders": [order],
        "open_orders": [[0, 1, 2, False, 1, True, ""], [0, 2, 99, True, 1, False, ""]],
        "parked_orders": [[0, 1, "kills its host"]],
    }
    found = books_records(tables)
    assert found["orders"][0].metadata == '{"a":"1","b":"2"}'
    assert found["orders"][0].mode == "test"
    assert [row.status for row in found["open_orders"]] == ["processing", "number 99"]
    assert [row.reason for row in found["open_orders"]] == ["kills its host", ""]


def test_snapshots_keep_sums_of_any_size() -> None:
    """Sums of wallets are whole numbers also beyond 64 bits."""
    line = {
        "at_ns": 5,
        "partitions": [[0, 1, 2, 3, "ff", "host"]],
        "slices": [[0, 1, 1, 10**20, 0]],
        "wallet_totals": [["USD", str(10**20), str(10**20)]],
    }
    snapshot = snapshot_record(line)
    assert snapshot.wallets_minor == {"USD": 10**20}
    assert snapshot.slices[0].debits_minor == 10**20


def test_faults_poison_and_queue_are_loaded(tmp_path: Path) -> None:
    """What the fault harness writes becomes records: faults by phase, poison by its message."""
    lines = [
        {"at_ns": 1, "cell": "kill/host/x", "phase": "begin", "number": 1, "detail": {"pid": 3}},
        {"at_ns": 2, "cell": "kill/host/x", "phase": "end", "number": 1},
        {"at_ns": 3, "cell": "network/node/y", "phase": "skipped", "reason": "needs root"},
        {
            "at_ns": 4,
            "cell": "poison/stream/z",
            "phase": "begin",
            "partition_index": 7,
            "stream_id": "5-1",
        },
    ]
    (tmp_path / "faults.jsonl").write_text("\n".join(map(json.dumps, lines)))
    streams = [{"partition_index": 0, "message_count": 2, "entries_added": 9, "left": []}]
    (tmp_path / "queue.json").write_text(json.dumps({"streams": streams}))
    records = load_records(tmp_path)
    assert [fault.phase for fault in records.faults] == [
        *(FaultPhase.BEGIN, FaultPhase.END, FaultPhase.SKIPPED, FaultPhase.BEGIN)
    ]
    assert records.faults[2].reason == "needs root"
    assert [tuple(row)[1:] for row in records.poison] == [(7, "5-1", "poison/stream/z")]
    assert records.queue == [QueueLeft(0, 2, 9)]


def test_the_report_reads_the_same_as_json_and_as_text() -> None:
    """Every invariant, its state and the verdict stand in both forms; a timeline too."""
    report = check_records(PLANTED[0].plant(valid_records()))
    document = json.loads(json.dumps(report_document(report)))
    text = "\n".join(report_lines(report))
    assert document["verdict"] == "violated"
    assert text.endswith("verdict: violated")
    for result, told in zip(report.invariants, document["invariants"], strict=True):
        assert told["state"] == state_of(result)
        assert f"\n{result.invariant:4} {result.title}" in text
    first = next(each["first"] for each in document["invariants"] if each["first"])
    assert first["timeline"]
    assert first["timeline"][0]["text"] in text


def test_the_command_says_unknown_of_an_empty_directory(tmp_path: Path) -> None:
    """A directory without records is neither valid nor violated, by exit code too."""
    done = CliRunner().invoke(main, [str(tmp_path), "--json"])
    assert done.exit_code == 2
    document = json.loads(done.stdout)
    assert document["verdict"] == Verdict.UNKNOWN
    assert "can't be read: books.json is missing" in document["reasons"]


def test_collecting_without_a_stack_says_what_could_not_be_read(tmp_path: Path) -> None:
    """Where the run's stack is gone, nothing is collected, and that is told."""
    (tmp_path / "run.json").write_text(json.dumps({"home": str(tmp_path / "gone")}))
    done = CliRunner().invoke(main, [str(tmp_path), "--collect"])
    assert done.exit_code == 2
    assert "can't be read: the stack" in done.stderr


def test_what_receivers_got_is_loaded(tmp_path: Path) -> None:
    """By merchant and mode; a run without receivers shows nothing of deliveries, and says so."""
    assert "I18" in load_records(tmp_path).not_shown
    (tmp_path / "webhooks.json").write_text('{"mrc_one|test": ["evt_b_c_c"], "mrc_one|live": []}')
    records = load_records(tmp_path)
    assert records.webhooks == {
        ("mrc_one", "test"): frozenset({"evt_b_c_c"}),
        ("mrc_one", "live"): frozenset(),
    }
    assert "I18" not in records.not_shown
