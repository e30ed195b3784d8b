"""Filling books: what stands in the way is told."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from loadtest import books
from ops.local.layout import HomeLock, StackHome
from ops.local.ports import PORTS_FILE, claim_ports
from ops.stack.config_file import CONFIG_FILE


def test_books_of_a_running_stack_are_refused(tmp_path: Path) -> None:
    """A home whose servers run is told in one sentence, and its ports and configuration stay."""
    home = StackHome.prepare(tmp_path / "var")
    claim_ports(home, 7_400)
    before = (home.run / PORTS_FILE).read_bytes()
    lock = HomeLock(home)
    lock.acquire()
    try:
        result = CliRunner().invoke(books.main, ["--home", str(tmp_path / "var"), "--orders", "1"])
    finally:
        lock.release()
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "already run by another process" in result.stderr
    assert (home.run / PORTS_FILE).read_bytes() == before
    assert not (home.root / CONFIG_FILE).exists()
