"""`tally verify` against books in which something is wrong: each wrong is named, with its order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from ops.verify import checks, ledger_checks
from ops.verify.progress import VerifyProgress
from ops.verify.report import State
from ops.verify.verification import step_count, verify
from runtime.psp_config import PspConfig
from storage.sql_files import parse_statements
from storage.verifying import Snapshot
from tests.servers import SharedServers
from tests.verified_books import (
    PSP,
    TEMPLATE,
    VerifiedBooks,
    config_of,
)
from tests.verified_scene import Scene, copy_name, names_order, result

# --- right books ---------------------------------------------------------------------------------------


async def test_right_books_are_whole_and_every_check_has_looked(scene: Scene) -> None:
    """Books that the engine made pass, and no check passes by looking at nothing."""
    report = await scene.report()
    assert {
        check.name: check.first for check in report.checks if check.state is not State.PASSED
    } == {}
    assert report.is_ok
    assert [check.name for check in report.checks if not check.checked] == []
    assert report.charges_of_open_orders == 4
    assert report.snapshot["open_order_count"] == 6


# --- wrong books ---------------------------------------------------------------------------------------

_NAMED_BY = re.compile(r"-- named by (\w+)(?: of (\w+))?\n")

CORRUPTIONS: Mapping[str, str] = parse_statements(
    Path(__file__).with_name("verify_corruptions.sql").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
async def test_a_wrong_in_the_books_is_named(scene: Scene, corruption: str) -> None:
    """Whatever is altered in the books behind the engine's back, a check says so, and tells of the order."""
    sql = CORRUPTIONS[corruption]
    check, victim = named_by(sql)
    await scene.plant(sql)
    report = await scene.report()
    assert not report.is_ok
    found = result(report, check)
    assert found.state is State.FAILED, [c.name for c in report.checks if c.is_red]
    assert found.violations
    assert found.first is not None
    if victim is not None:
        assert names_order(found, scene.names[f"{victim}_p"], scene.names[f"{victim}_n"])


async def test_a_letter_may_be_discarded_after_a_repeat_brought_its_order(scene: Scene) -> None:
    """The order goes on; only the letter is closed. To discard it first, and then take it in, is wrong (above)."""
    await scene.plant(
        "UPDATE dead_letter_result SET result = 2, recorded_at = recorded_at + interval '1 second'"
        " WHERE dead_letter_no = 3"
    )
    assert result(await scene.report(), "set_aside_orders").state is State.PASSED


def named_by(sql: str) -> tuple[str, str | None]:
    """The check that must name a corruption, and the order that its story must tell of, if any."""
    match = _NAMED_BY.search(sql)
    assert match is not None
    return match[1], match[2]


def test_every_check_of_the_books_is_proven_to_fail() -> None:
    """No check of the books is there that no corruption makes fail."""
    assert {named_by(sql)[0] for sql in CORRUPTIONS.values()} == set(checks.LEDGER)
    assert len(CORRUPTIONS) >= 30


async def test_a_verification_stays_at_the_moment_it_began_with(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written before the second session is opened is in neither half of the checks."""
    beside = Snapshot.beside

    async def write_before(snapshot: Snapshot) -> Snapshot:
        await scene.plant("DELETE FROM order_outcome WHERE {paid}")
        return await beside(snapshot)

    monkeypatch.setattr(Snapshot, "beside", write_before)
    assert (await scene.report()).is_ok
    monkeypatch.setattr(Snapshot, "beside", beside)
    late = await scene.report()
    assert result(late, "charges_are_booked").state is State.FAILED
    assert result(late, "orders_stand_once").state is State.FAILED


async def test_a_story_of_the_books_tells_what_the_psp_recorded(scene: Scene) -> None:
    """Whichever half of the checks found it, an order's story has its rows and its charges."""
    await scene.plant(
        "UPDATE transfer SET amount_minor = amount_minor + 1 WHERE {paid} AND step = 1"
    )
    report = await scene.report()
    for name in ("transfers_match_outcomes", "transfers_are_charged"):
        found = result(report, name).first
        assert found is not None
        assert {"order", "outcome", "transfers", "charges_of_order"} <= set(found.story)


async def test_a_defect_in_one_half_is_told_as_it_is(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the other half, too, and comes out by itself, without a group around it."""

    def fail(_name: str, *, is_operation: bool = False) -> bytes:
        raise KeyError(f"planted, operation: {is_operation}")

    monkeypatch.setattr(ledger_checks, "derived_uuid", fail)
    with pytest.raises(KeyError, match="planted"):
        await scene.report()


async def test_both_sessions_look_at_one_moment(scene: Scene) -> None:
    """What is written after the snapshot was taken is in neither session, as late as the second was opened."""
    snapshot = await Snapshot.open(scene.config)
    try:
        await scene.plant("DELETE FROM transfer WHERE {paid}")
        beside = await snapshot.beside()
        try:
            check = "transfers_match_outcomes"
            found = [await session.examine(check) for session in (snapshot, beside)]
        finally:
            await beside.close()
    finally:
        await snapshot.close()
    assert [examined.violations for examined in found] == [0, 0]
    assert result(await scene.report(), check).state is State.FAILED


async def test_a_missing_table_is_red_and_the_rest_is_checked(scene: Scene) -> None:
    """A table that is gone makes its checks unreadable, names itself, and keeps no other check from running."""
    await scene.plant("DROP TABLE refused_request")
    report = await scene.report()
    assert not report.is_ok
    unread = result(report, "refused_requests")
    assert unread.state is State.UNREADABLE
    assert "refused_request" in (unread.detail or "")
    assert result(report, "chain").state is State.PASSED


@pytest.mark.parametrize(
    ("before", "at", "after"),
    [
        ("attempts", "events", ("events", "chain", "wallets")),
        (
            "oracle",
            f"charges_are_booked:{PSP}",
            ("charges_are_booked", "orders_charged_once", "wallets"),
        ),
    ],
)
async def test_a_lost_connection_is_red_from_there_on(
    scene: Scene,
    servers: SharedServers,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    at: str,
    after: Sequence[str],
) -> None:
    """When the server ends the sessions in the middle, every check that was not made is unreadable."""
    tell = VerifyProgress.tell
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'tally verify'"
    )

    def end_sessions(progress: VerifyProgress, name: str, how_far: str = "") -> None:
        tell(progress, name, how_far)
        if name == at:
            servers.query(kill)

    monkeypatch.setattr(VerifyProgress, "tell", end_sessions)
    report = await scene.report()
    assert not report.is_ok
    assert result(report, before).state is State.PASSED
    for name in after:
        assert result(report, name).state is State.UNREADABLE


async def test_books_that_cannot_be_opened_are_red(scene: Scene) -> None:
    """Without a database every check is unreadable, and says why."""
    shard = msgspec.structs.replace(scene.config.postgres.shards[0], database="nowhere")
    postgres = msgspec.structs.replace(scene.config.postgres, shards=[shard])
    scene.config = msgspec.structs.replace(scene.config, postgres=postgres)
    report = await scene.report()
    assert not report.is_ok
    assert {check.state for check in report.checks} == {State.UNREADABLE}
    assert all("nowhere" in (check.detail or "") for check in report.checks)


async def test_a_psp_without_a_record_is_said_to_have_none(
    books: VerifiedBooks, tmp_path: Path
) -> None:
    """A PSP in process keeps no record: that is a state of its own, neither passed nor failed, and no zero."""
    psp = PspConfig(name=PSP, kind="in_process")
    database = copy_name()
    books.servers.create_database(database, template=TEMPLATE)
    try:
        config = config_of(books.servers, database, tmp_path, [psp])
        with VerifyProgress(Console(quiet=True), step_count=step_count(config)) as progress:
            report = await verify(config, progress)
    finally:
        books.servers.drop_database(database)
    assert report.is_ok
    for name in checks.ORACLE:
        unmade = result(report, name)
        assert (unmade.state, unmade.checked, unmade.violations) == (State.NO_RECORD, None, None)
        assert unmade.detail == "this PSP keeps no record to compare with"
