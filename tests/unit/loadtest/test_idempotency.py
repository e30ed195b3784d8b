"""The conformance kit: every row can pass, every row can fail, and the report says which did."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from loadtest.idempotency import __main__ as command
from loadtest.idempotency.catalogue import ROWS
from loadtest.idempotency.processes import LocalStack, peer_inodes, socket_inodes, start_of
from loadtest.idempotency.psp_record import PspRecord
from loadtest.idempotency.report import document, is_conformant, write_table
from loadtest.idempotency.rows import Deployment, Row
from loadtest.idempotency.runner import Result, Verdict, try_rows
from loadtest.idempotency.storefront import Storefront
from loadtest.idempotency.verdicts import NotTestable, Violated
from ops.local.ports import free_port
from tests.unit.loadtest.idempotent_server import (
    LIVE,
    MERCHANT,
    STRANGER,
    IdempotentServer,
    serving,
)

BY_NAME = {row.name: row for row in ROWS}
# Rows that HTTP alone can't try anywhere.
NEVER_TRIED = frozenset(row.name for row in ROWS if row.section == "a store away")

BROKEN = (
    ("takes_no_key", "key_missing"),
    ("takes_any_spelling", "key_invalid"),
    ("case_counts", "key_forms"),
    ("keeps_refused", "refused_by_validation"),
    ("waits_always", "first_use"),
    ("never_waits", "first_use_waits"),
    ("waits_too_short", "wait_ends"),
    ("prefer_changes_bytes", "settled_unwatched"),
    ("reads_late", "read_by_key"),
    ("runs_repeats", "repeat_running"),
    ("no_waiting_repeat", "repeat_waits"),
    ("renders_anew", "frozen_success"),
    ("declines_again", "frozen_decline"),
    ("other_on_other_connections", "frozen_elsewhere"),
    ("forgets", "frozen_late"),
    ("charges_unclear_again", "repeat_unknown"),
    ("members_count", "same_member_order"),
    ("white_space_counts", "same_white_space"),
    ("escapes_count", "same_escapes"),
    ("nulls_count", "same_defaults"),
    ("headers_count", "same_headers"),
    ("ignores_amount", "other_amount"),
    ("ignores_currency", "other_currency"),
    ("ignores_payment_method", "other_payment_method"),
    ("ignores_description", "other_description"),
    ("ignores_metadata", "other_metadata"),
    ("ignores_buyer", "other_buyer"),
    ("ignores_seller", "other_seller"),
    ("names_one_field", "other_fields"),
    ("ignores_capture", "other_capture"),
    ("retries_declined", "other_after_decline"),
    ("keys_are_global", "other_merchant"),
    ("keys_are_global", "key_of_a_stranger"),
    ("modes_share", "other_mode"),
    ("races", "twins"),
    ("races", "twins_waiting"),
    ("races", "twins_declined"),
    ("races", "twins_conflicting"),
    ("checkout_runs_again", "checkout_again"),
    ("checkout_ignores_body", "checkout_other_body"),
    ("races", "checkout_twins"),
    ("checkout_takes_ids", "checkout_order_taken"),
    ("checkout_orders_are_free", "checkout_order_alone"),
    ("capture_runs_again", "capture_again"),
    ("void_runs_again", "void_again"),
    ("refund_runs_again", "refund_again"),
    ("races", "capture_twins"),
    ("races", "void_twins"),
    ("races", "refund_twins"),
    ("capture_ignores_body", "capture_other_body"),
    ("refund_ignores_body", "refund_other_body"),
    ("refusals_are_forgotten", "refusal_again"),
    ("refunds_too_much", "refunds_together"),
    ("operations_share_keys", "key_across_kinds"),
    ("payments_share_keys", "key_of_another_payment"),
    ("keys_are_global", "operation_of_a_stranger"),
    ("keys_are_global", "checkout_of_a_stranger"),
    ("charges_again_after_a_hang_up", "hung_up"),
    ("runs_half_requests", "half_sent"),
    ("defers", "nothing_deferred"),
    ("charges_again_after_a_kill", "gateway_killed_when_sent"),
    ("charges_again_after_a_kill", "gateway_killed_when_waiting"),
    ("charges_again_after_a_kill", "host_killed_when_sent"),
    ("forgets_at_a_kill", "host_killed_when_accepted"),
    ("forgets_at_a_kill", "gateway_killed_when_accepted"),
    ("away_for_good", "settled_unwatched"),
    ("away_without_a_hint", "settled_unwatched"),
    # What only one of the witnesses of a second charge can see.
    ("transfers_twice", "first_use"),
    ("credits_twice", "twins"),
    ("captures_twice", "first_use"),
)
"""A promise that a server breaks, and a row that must notice."""


async def _tried(server: IdempotentServer, rows: Sequence[Row]) -> list[Result]:
    """Try rows on a server with everything that rows may be given."""
    async with (
        serving(server) as url,
        Storefront(url, MERCHANT) as shop,
        Storefront(url, STRANGER) as other,
        Storefront(url, LIVE) as live,
    ):
        deployment = Deployment(
            shop=shop,
            other_shop=other,
            live_shop=live,
            victims=server,
            psp_records=[PspRecord(url)],
            delay_s=0.05,
        )
        return await try_rows(rows, deployment, seconds_max=60, on_result=lambda _: None)


async def test_a_server_that_keeps_its_promises_passes() -> None:
    """No row complains without a reason; the only ones skipped are those that HTTP can't try."""
    results = await _tried(IdempotentServer(has_manual=True), ROWS)
    assert [result for result in results if result.verdict is Verdict.FAILED] == []
    skipped = {result.row.name for result in results if result.verdict is Verdict.SKIPPED}
    assert skipped == NEVER_TRIED


@pytest.mark.parametrize(("broken", "name"), BROKEN)
async def test_a_broken_promise_is_noticed(broken: str, name: str) -> None:
    """Each row fails, with a reason, on a server that breaks its promise in one way."""
    server = IdempotentServer(broken, has_manual=True)
    (result,) = await _tried(server, [BY_NAME[name]])
    assert result.verdict is Verdict.FAILED
    assert result.reason
    assert "no verdict within" not in result.reason


async def test_a_store_that_is_back_again_breaks_nothing() -> None:
    """A 503 that says to retry is no failure: the same key gets its outcome in the end."""
    (result,) = await _tried(IdempotentServer("away_at_first"), [BY_NAME["settled_unwatched"]])
    assert result.verdict is Verdict.PASSED, result.reason


def test_every_row_was_seen_to_fail() -> None:
    """No row is left out above: a check that can't fail shows nothing."""
    assert {name for _, name in BROKEN} == BY_NAME.keys() - NEVER_TRIED
    assert len(BY_NAME) == len(ROWS)


async def test_rows_without_their_means_are_skipped() -> None:
    """Without a second merchant, a live key, or a stack of this machine, rows say what they need."""
    server = IdempotentServer()
    names = (
        "other_merchant",
        "other_mode",
        "other_capture",
        "host_killed_when_sent",
        "key_missing",
    )
    async with serving(server) as url, Storefront(url, MERCHANT) as shop:
        results = await try_rows(
            [BY_NAME[name] for name in names],
            Deployment(shop=shop),
            seconds_max=60,
            on_result=lambda _: None,
        )
    assert [result.verdict for result in results] == [*[Verdict.SKIPPED] * 4, Verdict.PASSED]
    for result, what in zip(
        results, ("--second-key", "--live-key", "capture", "--home"), strict=False
    ):
        assert what in result.reason


async def test_nobody_there_fails_every_row() -> None:
    """A deployment that can't be reached keeps no promise: nothing passes by its absence."""
    nowhere = f"http://127.0.0.1:{free_port(set())}"
    # Rows that repeat until an answer comes would do so for long.
    rows = [row for row in ROWS if row.section == "key" or row.name in ("half_sent", "first_use")]
    async with Storefront(nowhere, MERCHANT) as shop:
        results = await try_rows(
            rows, Deployment(shop=shop), seconds_max=60, on_result=lambda _: None
        )
    assert {result.verdict for result in results} == {Verdict.FAILED}


# --- the runner ------------------------------------------------------------------------------------------


def _row(name: str, *raised: BaseException, seconds: float = 0.0, **more: bool) -> Row:
    async def check(_: Deployment) -> None:
        await asyncio.sleep(seconds)
        for each in raised:
            raise each

    return Row(name=name, section="made up", promise=f"Promise of {name}.", check=check, **more)


async def _run(rows: Sequence[Row], seconds_max: float = 60.0) -> list[Result]:
    deployment = Deployment(shop=Storefront("http://127.0.0.1:9", "sk_test_none"), delay_s=0.0)
    return await try_rows(rows, deployment, seconds_max=seconds_max, on_result=lambda _: None)


async def test_a_row_ends_in_one_of_three_ways() -> None:
    """What a check raises decides; an answer without a documented member is a failure, not a crash."""
    results = await _run(
        [
            _row("kept"),
            _row("broken", Violated("it was charged twice")),
            _row("untried", NotTestable("needs a key")),
            _row("odd", KeyError("data")),
            _row("gone", ConnectionRefusedError("refused")),
        ]
    )
    assert [(result.verdict, result.reason) for result in results[:3]] == [
        (Verdict.PASSED, ""),
        (Verdict.FAILED, "it was charged twice"),
        (Verdict.SKIPPED, "needs a key"),
    ]
    assert [result.verdict for result in results[3:]] == [Verdict.FAILED] * 2
    assert "'data'" in results[3].reason


async def test_the_time_is_bounded() -> None:
    """What has not ended in time has failed, also what had not begun."""
    rows = [_row(f"slow_{index}", seconds=30) for index in range(6)]
    results = await _run(rows, seconds_max=0.1)
    assert {result.verdict for result in results} == {Verdict.FAILED}
    assert all("no verdict within" in result.reason for result in results)


async def test_what_kills_runs_alone_and_last() -> None:
    """No row runs beside one that kills processes, whatever the order in which they are given."""
    running: set[str] = set()
    seen: list[tuple[str, int]] = []

    def watched(row: Row) -> Row:
        async def check(_: Deployment) -> None:
            running.add(row.name)
            await asyncio.sleep(0.01)
            seen.append((row.name, len(running)))
            running.discard(row.name)

        return replace(row, check=check)

    killing = [watched(_row(f"kill_{index}", is_disruptive=True)) for index in range(2)]
    harmless = [watched(_row(f"look_{index}")) for index in range(4)]
    results = await _run([*killing, *harmless])
    assert [result.row.name for result in results[:2]] == ["kill_0", "kill_1"]
    assert seen[-2:] == [("kill_0", 1), ("kill_1", 1)]


# --- the report ------------------------------------------------------------------------------------------

PASSED = Result(_row("kept"), Verdict.PASSED, "", 0.5)
FAILED = Result(_row("broken"), Verdict.FAILED, "[red] was answered 500", 1.0)
SKIPPED = Result(_row("untried"), Verdict.SKIPPED, "needs a key", 0.0)


@pytest.mark.parametrize(
    ("results", "is_so"),
    [
        ([PASSED], True),
        ([PASSED, SKIPPED], True),
        ([PASSED, FAILED], False),
        ([SKIPPED], False),
        ([], False),
    ],
)
def test_conformant_is_who_failed_nothing_and_passed_something(
    results: list[Result], is_so: bool
) -> None:
    """One failure is enough, and skipping everything proves nothing."""
    assert is_conformant(results) is is_so


def test_the_table_has_every_row_with_its_reason() -> None:
    """People see verdict, promise and reason of each row, as the deployment put it, and the sum."""
    out = StringIO()
    write_table(Console(file=out, width=80), [PASSED, FAILED, SKIPPED], 3.0)
    lines = out.getvalue().splitlines()
    assert lines[0] == "made up"
    assert lines[2].split() == ["fail", "broken", "1.0", "s", "Promise", "of", "broken."]
    assert lines[3].strip() == "[red] was answered 500"
    assert lines[-1] == "3 rows: 1 passed, 1 failed, 1 skipped, in 3 s"


def test_the_document_has_the_same() -> None:
    """Programs get every row with verdict and reason, the counts, and whether all is well."""
    made = json.loads(json.dumps(document([PASSED, FAILED, SKIPPED], 3.04)))
    rows = made.pop("rows")
    counts = {"passed": 1, "failed": 1, "skipped": 1}
    assert made == {"conformant": False, **counts, "seconds": 3.0}
    assert [row["verdict"] for row in rows] == ["pass", "fail", "skipped"]
    assert rows[1]["reason"] == "[red] was answered 500"
    assert rows[1]["promise"] == "Promise of broken."


# --- the command -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ["--key", "sk_live_x"],
        ["--key", "sk_test_x", "--second-key", "sk_test_x"],
        ["--key", "sk_test_x", "--live-key", "sk_test_y"],
        ["--key", "sk_test_x", "--row", "no_such_row"],
        ["--key", "sk_test_x", "--delay", "10", "--time-limit", "10"],
        [],
    ],
)
def test_options_that_make_no_sense_are_refused(options: list[str]) -> None:
    """A live key where orders would be real, one merchant twice, a row that is none: exit code 2."""
    result = CliRunner().invoke(command.main, ["--url", "http://127.0.0.1:9", *options])
    assert result.exit_code == 2


def test_a_deployment_that_does_not_answer_is_one_sentence() -> None:
    """A wrong address is told before anything is tried."""
    url = f"http://127.0.0.1:{free_port(set())}"
    result = CliRunner().invoke(command.main, ["--url", url, "--key", "sk_test_x"])
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(("broken", "exit_code"), [("", 0), ("takes_no_key", 1)])
async def test_the_exit_code_tells(broken: str, exit_code: int) -> None:
    """The command prints what it found, and exits with 1 when a row failed."""
    async with serving(IdempotentServer(broken)) as url:
        asked = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "loadtest.idempotency", "--url", url, "--key", MERCHANT),
            *("--row", "key_missing", "--row", "same_escapes", "--json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        printed, _ = await asked.communicate()
    assert asked.returncode == exit_code
    found = json.loads(printed)
    assert [row["name"] for row in found["rows"]] == ["key_missing", "same_escapes"]
    assert found["failed"] == exit_code


# --- processes -------------------------------------------------------------------------------------------


def test_a_connection_leads_to_its_process() -> None:
    """The process at the other end of a connection is found by the sockets that it holds."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        port = client.getsockname()[1]
        # Nobody has accepted it yet, so no process holds the other end.
        assert not peer_inodes(port) & socket_inodes(os.getpid())
        with server.accept()[0]:
            assert peer_inodes(port) & socket_inodes(os.getpid())
            assert not peer_inodes(port) & socket_inodes(os.getppid())


def test_only_what_the_status_named_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host is killed by its pid, unless another process has that pid by now."""
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        stack = LocalStack(Path("/nowhere"), {})
        monkeypatch.setattr(stack, "_host", (sleeper.pid, "1"))
        with pytest.raises(NotTestable):
            stack.kill_host()
        assert sleeper.poll() is None
        monkeypatch.setattr(stack, "_host", (sleeper.pid, start_of(sleeper.pid)))
        stack.kill_host()
        assert sleeper.wait(5) == -9
    finally:
        sleeper.kill()
        sleeper.wait(5)
    assert start_of(sleeper.pid) == ""
    with pytest.raises(NotTestable):
        stack.kill_gateway([1])


async def test_a_record_is_counted_by_merchant() -> None:
    """Two merchants under one key are one charge each; what was read once is kept."""
    server = IdempotentServer()
    async with serving(server) as url:
        record = PspRecord(url)
        assert await record.captured_count("none") == 0
        async with Storefront(url, MERCHANT) as shop, Storefront(url, STRANGER) as other:
            body = {"amount": 1, "currency": "USD", "payment_method": "tok_approve"}
            key = "6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11"
            for front in (shop, other):
                assert (await front.post(key, body, wait_s=5)).status == 201
        assert await record.captured_count(key) == 1
        assert await record.captured_count(key) == 1
