"""What is said of the stores' copies, to people and to programs."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from ops.local import space
from ops.local.copies import RECORD_FILES, CopiesFile, OneCopy, StoreEvent
from ops.output import Output
from ops.stack.store_report import print_history, print_stores, space_warnings, store_documents


@pytest.fixture
def record(tmp_path: Path) -> CopiesFile:
    """Postgres' record in a home of its own."""
    (tmp_path / "data").mkdir()
    file = CopiesFile(tmp_path / "data" / RECORD_FILES["postgres"], "Postgres")
    file.mark_in_sync(primary=2, other=1)
    return file


def test_a_home_without_records_has_stores_without_servers(tmp_path: Path) -> None:
    """Before the first start nothing leads, and nothing fails."""
    for document in store_documents(tmp_path, {}, is_running=False).values():
        assert document["primary"] is None
        assert document["state"] == "stopped"


@pytest.mark.parametrize(
    ("problems", "state"),
    [
        ({}, "ok"),
        ({"postgres_1": "does not follow"}, "degraded"),
        ({"postgres_2": "its data is gone"}, "down"),
        ({"valkey_1": "another store's"}, "ok"),
    ],
    ids=["ok", "second", "primary", "other store"],
)
def test_the_state_follows_from_who_has_a_problem(
    record: CopiesFile, problems: Mapping[str, str], state: str
) -> None:
    """A store without its second copy is degraded, one without its primary is down."""
    document = store_documents(record.path.parent.parent, problems, is_running=True)["postgres"]
    assert (document["primary"], document["second"]) == ("postgres_2", "postgres_1")
    assert document["state"] == state


def test_a_copy_that_is_not_in_sync_yet_is_told(record: CopiesFile) -> None:
    """Also without any problem a store with one whole copy is degraded."""
    record.forget(1)
    document = store_documents(record.path.parent.parent, {}, is_running=True)["postgres"]
    assert document["state"] == "degraded"
    assert document["in_sync"] == []


def test_people_see_one_copy_and_the_history(record: CopiesFile) -> None:
    """An accepted copy shows until when, every event its server, its reason and how long it took."""
    record.note(
        StoreEvent(at="2026-11-26T12:00:00+00:00", what="promoted", node="postgres_2", took_s=0.25)
    )
    record.change(one_copy=OneCopy(until="2026-11-26T13:00:00+00:00", actor="test"), in_sync=[])
    documents = store_documents(record.path.parent.parent, {}, is_running=True)
    assert documents["postgres"]["one_copy_until"] == "2026-11-26T13:00:00+00:00"
    out = io.StringIO()
    output = Output({}, out=out)
    print_stores(documents, output)
    print_history(documents, output)
    assert "one copy" in out.getvalue()
    assert "promoted" in out.getvalue()
    assert "0.250" in out.getvalue()


def test_a_disk_that_fills_up_is_told(record: CopiesFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the alarm's ratio on each server's disk is named, with what is left."""
    root = record.path.parent.parent
    monkeypatch.setattr(space, "ALARM_RATIO", 1.1)
    assert space_warnings(root) == {}
    monkeypatch.setattr(space, "ALARM_RATIO", 0.0)
    warnings = space_warnings(root)
    assert warnings.keys() == {"postgres_1", "postgres_2", "valkey_1", "valkey_2"}
    assert re.search(r"\d [kMGT]B are left", warnings["postgres_1"])


def test_a_server_that_ended_for_want_of_room_had_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own last words count, whatever the file system says a moment later."""
    monkeypatch.setattr(space, "ROOM_BYTES", 0)
    log = tmp_path / "server.log"
    log.write_text("PANIC:  could not write to file: No space left on device\n")
    assert space.is_disk_full(tmp_path / "not" / "there", log)
    log.write_text("PANIC:  something else\n")
    assert not space.is_disk_full(tmp_path / "not" / "there", log)
