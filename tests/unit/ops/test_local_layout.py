from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops.local.durable import write_durably
from ops.local.faults import HomeInUse, HomeNotOurs
from ops.local.layout import HomeLock, StackHome


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_secrets_are_private_and_lasting(tmp_path: Path) -> None:
    """A secret is made once, differs by name, and nobody else can read it."""
    home = StackHome.prepare(tmp_path / "var")
    secret = home.secret("valkey")
    assert len(secret) >= 43
    assert StackHome.prepare(tmp_path / "var").secret("valkey") == secret
    assert home.secret("postgres") != secret
    assert mode_of(home.secrets) == 0o700
    assert mode_of(home.secrets / "valkey") == 0o600


def test_others_can_list_nothing(tmp_path: Path) -> None:
    """No directory of a home can be read by other users, also where an old one could."""
    (tmp_path / "var" / "logs").mkdir(parents=True, mode=0o777)
    home = StackHome.prepare(tmp_path / "var")
    for directory in (home.root, home.data, home.secrets, home.logs, home.run):
        assert mode_of(directory) & 0o066 == 0


def test_two_homes_are_two_stacks(tmp_path: Path) -> None:
    """The stack's id lasts as long as its home, and no two homes share one."""
    first, second = (StackHome.prepare(tmp_path / name) for name in ("a", "b"))
    assert first.stack_id() == StackHome.prepare(tmp_path / "a").stack_id()
    assert first.stack_id() != second.stack_id()


def test_another_users_home_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the owner, ourselves, and what to do."""
    StackHome.prepare(tmp_path / "var")
    owner_uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner_uid + 1)
    with pytest.raises(HomeNotOurs, match=f"uid {owner_uid}, .* uid {owner_uid + 1}.*TALLY_HOME"):
        StackHome.prepare(tmp_path / "var")


def test_a_home_has_one_owner_at_a_time(tmp_path: Path) -> None:
    """The lock is taken once, and free again after its release."""
    home = StackHome.prepare(tmp_path / "var")
    first, second = HomeLock(home), HomeLock(home)
    first.acquire()
    first.acquire()
    with pytest.raises(HomeInUse):
        second.acquire()
    first.release()
    second.acquire()
    assert second.is_held
    second.release()


def test_a_write_replaces_the_whole_file(tmp_path: Path) -> None:
    """An old file is replaced whole, mode included, and no part file is left behind."""
    path = tmp_path / "state"
    path.write_text("old and longer")
    path.chmod(0o644)
    write_durably(path, "new")
    assert path.read_text() == "new"
    assert mode_of(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]
