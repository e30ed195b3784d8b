"""Where tests keep their servers' data: a place that the environment names is the one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests import memory_disk
from tests.memory_disk import MEMORY_DISK, VARIABLE, use_memory_disk


@pytest.fixture(autouse=True)
def tempdir(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the standard library remembers is as it was afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", tempfile.tempdir)


def test_a_named_place_is_kept() -> None:
    """Whoever says where temporary files go has them there."""
    environment = {VARIABLE: "/elsewhere"}
    use_memory_disk(environment)
    assert environment == {VARIABLE: "/elsewhere"}


@pytest.mark.parametrize(("available_kb", "is_used"), [(64 * 1024**2, True), (4 * 1024**2, False)])
def test_memory_is_used_where_there_is_enough(
    available_kb: int, is_used: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A small machine's tests stay on its disk."""
    facts = tmp_path / "meminfo"
    facts.write_text(f"MemTotal: 99 kB\nMemAvailable: {available_kb} kB\n", encoding="ascii")
    monkeypatch.setattr(memory_disk, "_MEMORY_FACTS", facts)
    monkeypatch.setattr(memory_disk, "MEMORY_DISK", tmp_path)
    monkeypatch.setattr(memory_disk, "FREE_BYTES_MIN", 5 * 1024**3)
    environment: dict[str, str] = {}
    use_memory_disk(environment)
    assert environment == ({VARIABLE: str(tmp_path)} if is_used else {})


def test_a_machine_without_such_a_disk_has_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is not there is not asked for more than once."""
    monkeypatch.setattr(memory_disk, "MEMORY_DISK", tmp_path / "none")
    environment: dict[str, str] = {}
    use_memory_disk(environment)
    assert environment == {}
    assert Path("/dev/shm") == MEMORY_DISK
