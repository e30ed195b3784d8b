"""Secrets that were lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.local.faults import SecretUnusable
from ops.local.layout import StackHome
from ops.stack.secret_files import require_secrets

BOUND = ("api_key_pepper", "fingerprint_key", "postgres_superuser", "postgres_replication")


@pytest.fixture
def used(tmp_path: Path) -> StackHome:
    """A home with secrets and an initialised Postgres."""
    home = StackHome.prepare(tmp_path / "var")
    for name in (*BOUND, "postgres_owner"):
        home.secret(name)
    (home.data / "postgres-1").mkdir()
    (home.data / "postgres-1" / "PG_VERSION").write_text("17\n")
    return home


def test_a_new_home_needs_no_secrets(tmp_path: Path) -> None:
    """The first start makes them."""
    require_secrets(StackHome.prepare(tmp_path / "var"))


@pytest.mark.parametrize("name", BOUND)
def test_a_secret_that_the_data_depends_on_is_not_made_anew(used: StackHome, name: str) -> None:
    """A start without it is refused, naming the file and both ways out; the file is not made."""
    require_secrets(used)
    path = used.secrets / name
    path.unlink()
    with pytest.raises(SecretUnusable, match=r"missing.*Restore.*backup.*tally reset") as fault:
        require_secrets(used)
    assert str(path) in str(fault.value)
    assert not path.exists()


def test_a_password_that_can_be_made_anew_may_be_missing(used: StackHome) -> None:
    """The roles get their passwords at each start, so losing one is harmless."""
    (used.secrets / "postgres_owner").unlink()
    require_secrets(used)


def test_an_empty_secret_is_refused_by_name(used: StackHome) -> None:
    """An empty file is named at once; what a power cut left of a write is none."""
    (used.secrets / "valkey.part").touch()
    require_secrets(used)
    (used.secrets / "valkey").touch()
    with pytest.raises(SecretUnusable, match="secrets/valkey is empty"):
        require_secrets(used)
