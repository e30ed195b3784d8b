"""How much room a stack takes."""

from __future__ import annotations

from pathlib import Path

from ops.disk_use import directory_bytes, disk_use


def test_what_lies_below_is_counted_once(tmp_path: Path) -> None:
    """Files at any depth count by what they take on disk; links count nothing."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x" * 100_000)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert 100_000 <= directory_bytes(tmp_path) < 200_000
    assert directory_bytes(tmp_path / "nowhere") == 0


def test_a_home_that_does_not_exist_has_no_data_but_free_room(tmp_path: Path) -> None:
    """Before the first start, status and doctor can say how much room there is."""
    use = disk_use(tmp_path / "not" / "yet")
    assert use["data_bytes"] == {}
    assert isinstance(use["free_bytes"], int)
