from __future__ import annotations

from pathlib import Path

import pytest

from ops.local import postgres_settings, valkey_settings
from ops.local.faults import DataRefused, ServerMissing
from ops.local.layout import StackHome
from ops.local.postgres_programs import (
    PostgresPrograms,
    RunAs,
    choose_run_as,
    find_programs,
    locale_options,
)
from ops.local.resp import info_fields
from ops.local.valkey import find_program


def never_asked() -> bool:
    raise AssertionError("an ordinary user needs no namespace")


def test_an_ordinary_user_runs_postgres_directly() -> None:
    """Without root there is nothing to drop, so nothing is probed."""
    assert choose_run_as(1000, never_asked) is RunAs.DIRECT


def test_root_prefers_a_namespace_and_falls_back_to_nobody() -> None:
    """Postgres refuses root: it is run as another user, in the first way that works here."""
    assert choose_run_as(0, lambda: True) is RunAs.NAMESPACE
    assert choose_run_as(0, lambda: False) is RunAs.NOBODY


@pytest.mark.parametrize(
    ("run_as", "first_word", "uid"),
    [
        (RunAs.DIRECT, "/pg/psql", None),
        (RunAs.NAMESPACE, "unshare", None),
        (RunAs.NOBODY, "/pg/psql", 65534),
    ],
)
def test_each_way_has_its_command_line(run_as: RunAs, first_word: str, uid: int | None) -> None:
    """The namespace is entered by a prefix, nobody by a change of user."""
    programs = PostgresPrograms(bin_directory=Path("/pg"), run_as=run_as)
    argv = programs.argv("psql", "-l")
    assert argv[0] == first_word
    assert argv[-2:] == ["/pg/psql", "-l"]
    assert programs.uid == uid


def test_the_way_is_kept_with_the_data(tmp_path: Path) -> None:
    """Data made in one way is never opened in another, which would find its files not its own."""
    home = StackHome.prepare(tmp_path / "var")
    made = find_programs(home).run_as
    other = RunAs.NAMESPACE if made is RunAs.DIRECT else RunAs.DIRECT
    (home.data / "postgres-run-as").write_text(other)
    with pytest.raises(DataRefused, match=f"made under '{other}'"):
        find_programs(home)


def test_missing_servers_are_told_with_the_option_to_set(tmp_path: Path) -> None:
    """A path without the program names the path."""
    with pytest.raises(ServerMissing, match=r"nowhere/postgres"):
        find_programs(StackHome.prepare(tmp_path), tmp_path / "nowhere")
    with pytest.raises(ServerMissing, match=r"--redis-bin"):
        find_program(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("version", "is_builtin"),
    [
        ("postgres (PostgreSQL) 16.4 (Debian 16.4-1)", False),
        ("postgres (PostgreSQL) 17.0", True),
        ("postgres (PostgreSQL) 18.6", True),
    ],
)
def test_text_sorts_alike_on_every_machine(version: str, *, is_builtin: bool) -> None:
    """Whatever the version, no locale of the machine is used."""
    options = locale_options(version)
    assert ("--locale-provider=builtin" in options) is is_builtin
    assert ("--no-locale" in options) is not is_builtin


def test_both_postgres_nodes_differ_in_ports_alone() -> None:
    """Either node can be the primary, because their settings are the same."""
    passfile = Path("/it's/here")
    first = postgres_settings.render_settings(port=1, peer_port=2, passfile=passfile)
    second = postgres_settings.render_settings(port=2, peer_port=1, passfile=passfile)
    pairs = zip(first.splitlines(), second.splitlines(), strict=True)
    differing = {line.split(" = ")[0] for line, other in pairs if line != other}
    assert differing == {"port", "primary_conninfo"}
    assert "synchronous_standby_names = 'ANY 1 (standby1)'" in first
    assert r"passfile=''/it\\''s/here''" in first


def test_a_replica_follows_its_primary_and_fsyncs_as_it_does() -> None:
    """Primary and replica have the same durability; only the replica names whom it follows."""

    def rendered(primary_port: int | None) -> list[str]:
        return valkey_settings.render_settings(
            port=1,
            directory=Path("/data with space"),
            password="pass",
            memory_bytes_max=10,
            primary_port=primary_port,
        ).splitlines()

    primary, replica = rendered(None), rendered(7)
    assert [line for line in replica if line not in primary] == ["replicaof 127.0.0.1 7"]
    assert {"appendonly yes", "appendfsync always", "maxmemory-policy noeviction"} <= set(primary)
    assert 'dir "/data with space"' in primary


def test_info_is_read_field_by_field() -> None:
    """Comments and blank lines are no fields; values may hold colons."""
    text = "# Replication\r\nrole:slave\r\n\r\nslave0:ip=::1,port=1\r\n"
    assert info_fields(text) == {"role": "slave", "slave0": "ip=::1,port=1"}
