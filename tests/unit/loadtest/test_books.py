"""Filling books: what stands in the way is told."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from loadtest import books
from ops.local.layout import HomeLock, StackHome


def test_books_of_a_running_stack_are_refused(tmp_path: Path) -> None:
    """A home whose servers run is told in one sentence with exit code 1, not by a traceback."""
    lock = HomeLock(StackHome.prepare(tmp_path / "var"))
    lock.acquire()
    try:
        result = CliRunner().invoke(books.main, ["--home", str(tmp_path / "var"), "--orders", "1"])
    finally:
        lock.release()
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "already run by another process" in result.stderr
