"""Runs that don't count: each reason is named, and the command says so by its exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loadtest.bench import __main__ as command
from loadtest.bench.faults import BenchFailed
from loadtest.bench.figures import GENERATOR
from loadtest.bench.generator.job import Latencies, LoadResult
from loadtest.bench.measuring import Reading
from loadtest.bench.processes import Meter
from tests.unit.loadtest.test_report_html import document


def reading(**changes: Any) -> Reading:
    return Reading(Meter({}), cpu_s={"gateway": 2.0}, wal_bytes=3_000, aof_bytes=600, **changes)


def loaded(**answers: int) -> LoadResult:
    none = Latencies(count=0, p50_ms=None, p99_ms=None)
    return LoadResult(
        first_sent_s=10.0,
        last_answer_s=12.0,
        answers={name.removeprefix("http_"): count for name, count in answers.items()},
        at_once=none,
        held=none,
        cpu_s=0.5,
    )


def figures(read: Reading, result: LoadResult, *, is_ok: bool = True, payments: int = 10) -> Any:
    return read.figures(
        payments=payments,
        seconds=2.0,
        p50_ms=None,
        p99_ms=None,
        latency_of="nothing",
        verify={"ok": is_ok},
        loaded=result,
    )


def test_costs_are_shared_among_payments() -> None:
    """What a stretch of time cost is told for one payment, the generator's own word included."""
    made = figures(reading(), loaded(http_202=10))
    assert made.void == []
    assert made.rate_per_s == 5.0
    assert made.cpu_s_per_payment == {"gateway": 0.2, GENERATOR: 0.05}
    assert (made.wal_bytes_per_payment, made.aof_bytes_per_payment) == (300.0, 60.0)


def test_each_reason_voids_a_run() -> None:
    """Refusals, lost answers, wrong books, lax servers and silence: no such rate is a result."""
    assert figures(reading(), loaded(http_202=9, http_503=1)).void == ["1 answers 503"]
    assert figures(reading(), loaded(http_202=9, http_0=2)).void == ["2 answers 0"]
    assert figures(reading(), loaded(http_202=10), is_ok=False).void == ["the books are not right"]
    assert figures(reading(lax=["x is off"]), loaded(http_202=10)).void == ["x is off"]
    silent = figures(reading(), loaded(), payments=0)
    assert silent.void == ["no payment came through"]


@pytest.mark.parametrize(
    ("changes", "exit_code"),
    [
        ({}, 0),
        ({"void": ["accept: 1 answers 503"]}, 1),
        ({"verify": {"ok": False}}, 1),
        ({"floors": {"accept/noop": {"floor": 9.0, "seen": 0.5, "met": False}}}, 0),
    ],
)
def test_the_exit_code_tells_void_from_slow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, Any], exit_code: int
) -> None:
    """A script can tell that nothing was measured; a floor that is not met is a result like any."""

    async def measured(*_: object) -> dict[str, Any]:
        return document(**changes)

    monkeypatch.setattr(command, "_measure", measured)
    page = tmp_path / "page.html"
    done = CliRunner().invoke(command.main, ["noop", "accept", "--html", str(page)])
    assert done.exit_code == exit_code, done.output
    assert "accept" in page.read_text(encoding="utf-8")


def test_an_unknown_run_is_refused() -> None:
    """A slip in a name doesn't silently measure less."""
    assert CliRunner().invoke(command.main, ["e2e_unifrom"]).exit_code == 2
    assert CliRunner().invoke(command.main, ["growth", "noop"]).exit_code == 2


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nowhere/page.html", "there is no directory"),
        ("loop.html", "can't be written: Too many levels of symbolic links"),
        # An empty variable of a script, say.
        ("", "is a directory"),
    ],
)
def test_a_page_that_can_not_be_written_is_refused_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, complaint: str
) -> None:
    """No minute is spent on measuring. Found out by trying: root may write anywhere, and still can't."""

    async def measured(*_: object) -> dict[str, Any]:
        raise AssertionError("was started")

    monkeypatch.setattr(command, "_measure", measured)
    (tmp_path / "loop.html").symlink_to(tmp_path / "loop.html")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command.main, ["--html", name])
    assert done.exit_code == 2, done.output
    assert complaint in done.stderr


def test_trying_to_write_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A page of before stays until there is a new one, and none is left by a run that fails."""

    async def failing(*_: object) -> dict[str, Any]:
        raise BenchFailed("no stack")

    monkeypatch.setattr(command, "_measure", failing)
    before = tmp_path / "before.html"
    before.write_text("of yesterday", encoding="utf-8")
    for page in (before, tmp_path / "new.html"):
        assert CliRunner().invoke(command.main, ["--html", str(page)]).exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["before.html"]
    assert before.read_text(encoding="utf-8") == "of yesterday"


def test_a_page_lost_at_the_end_is_told_under_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that has filled up meanwhile costs the page, not what was measured."""

    async def measured(*_: object) -> dict[str, Any]:
        return document()

    monkeypatch.setattr(command, "_measure", measured)
    done = CliRunner().invoke(command.main, ["noop", "accept", "--html", "/dev/full"])
    assert done.exit_code == 1
    assert "accept" in done.stdout
    assert "tally: /dev/full: No space left on device" in done.stderr


def test_usage_errors_name_the_command() -> None:
    """Whoever slips is sent to the help of `tally bench`, which explains the options."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "loadtest.bench", "e2e_unifrom"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: tally bench ")
