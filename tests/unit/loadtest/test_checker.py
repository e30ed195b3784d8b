"""The checker itself: what is right passes, what is wrong is found, what is missing is never right."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.checker.checking import check_records
from loadtest.checker.invariants import INVARIANTS
from loadtest.checker.records import (
    EventType,
    FaultPhase,
    FaultRecord,
    Input,
    OpKind,
    Records,
    RefusedRecord,
)
from loadtest.checker.rendering import report_document, report_lines
from loadtest.checker.report import Report, Verdict
from tests.unit.loadtest.checked_world import valid_records
from tests.unit.loadtest.planted import (
    PLANTED,
    PROCESSING,
    Planted,
    frozen_copy,
    op_added,
    row_added,
    second_attempt,
    swapped,
    without,
)

# Planted into records with holds and refunds: test_hold_checks.
OF_OPERATIONS = frozenset({"I10", "I11"})


@lru_cache(maxsize=1)
def valid() -> Records:
    return valid_records()


def violated(report: Report) -> set[str]:
    return {result.invariant for result in report.invariants if result.violated}


def test_a_run_in_which_everything_is_right_is_valid() -> None:
    """The checker finds nothing wrong where nothing is wrong, and has looked at everything."""
    report = check_records(valid())
    assert report.verdict is Verdict.VALID, report.reasons
    looked_at = {result.invariant for result in report.invariants if result.checked}
    with_check = {each.number for each in INVARIANTS if each.check is not None}
    assert looked_at == with_check - {"I21"} - OF_OPERATIONS


@pytest.mark.parametrize(
    "planted", PLANTED, ids=lambda planted: f"{planted.invariant} {planted.name}"
)
def test_each_planted_violation_is_found(planted: Planted) -> None:
    """What breaks an invariant is found by that invariant, with a counter-example that tells of it."""
    report = check_records(planted.plant(valid()))
    assert report.verdict is Verdict.VIOLATED
    assert planted.invariant in violated(report)
    found = next(each for each in report.invariants if each.invariant == planted.invariant)
    assert found.first is not None
    assert found.first.what
    assert any(found.first.what in line for line in report_lines(report))


def test_every_invariant_with_a_check_has_a_planted_violation() -> None:
    """No check is trusted that was never seen to find anything."""
    with_check = {each.number for each in INVARIANTS if each.check is not None}
    assert {planted.invariant for planted in PLANTED} == with_check - OF_OPERATIONS


def test_all_invariants_are_listed_and_none_without_a_check_counts_as_held() -> None:
    """I1 to I28 stand in the report; what can't be checked yet says why, and is never passed."""
    document = report_document(check_records(valid()))
    assert [each["invariant"] for each in document["invariants"]] == [
        f"I{number}" for number in range(1, 29)
    ]
    for each in document["invariants"]:
        if each["state"] == "not yet":
            assert each["why"]
            assert each["checked"] == 0


_TABLES = (
    "orders",
    "attempts",
    "outcomes",
    "events",
    "batches",
    "charges",
    "transfers",
    "slices",
    "partitions",
    "accounts",
)


@given(table=st.sampled_from(_TABLES), place=st.integers(0, 1_000))
def test_no_row_can_be_taken_away_unnoticed(table: str, place: int) -> None:
    """Whichever row of the books or of the PSP's record is lost, the run is not valid."""
    rows: list[Any] = getattr(valid(), table)
    report = check_records(swapped(valid(), **{table: without(rows, place % len(rows))}))
    assert report.verdict is Verdict.VIOLATED, table


@given(table=st.sampled_from(_TABLES), place=st.integers(0, 1_000), data=st.data())
def test_no_amount_can_be_changed_unnoticed(table: str, place: int, data: st.DataObject) -> None:
    """Whichever amount of the books or of the PSP's record is another one, the run is not valid."""
    rows: list[Any] = getattr(valid(), table)
    row = rows[place % len(rows)]
    fields = [name for name in row._fields if name.endswith("_minor")]
    if not fields:
        return
    field = data.draw(st.sampled_from(fields))
    more = row._replace(**{field: getattr(row, field) + data.draw(st.integers(1, 10**9))})
    at = place % len(rows)
    report = check_records(swapped(valid(), **{table: [*rows[:at], more, *rows[at + 1 :]]}))
    assert report.verdict is Verdict.VIOLATED, (table, field)


@given(data=st.data())
def test_an_answer_that_was_never_seen_is_no_violation(data: st.DataObject) -> None:
    """Whichever answers are lost on their way, nothing wrong follows from that."""
    ends = sorted({event.op for event in valid().history if event.type is not EventType.INVOKE})
    lost = data.draw(st.sets(st.sampled_from(ends)))
    history = [
        event._replace(type=EventType.INFO, status=0, body="", body_sha256="", error="TimeoutError")
        if event.op in lost and event.type is not EventType.INVOKE
        else event
        for event in valid().history
    ]
    assert violated(check_records(replace(valid(), history=history))) == set()


def test_a_deferred_request_that_was_refused_late_is_no_violation() -> None:
    """With a deferred key check the first order stands, and the late request is told of as refused."""
    late = op_added(OpKind.POST, 202, PROCESSING, fingerprint="late", is_deferred=True)
    refused = RefusedRecord(valid().orders[0].order_uuid, "late")
    assert violated(check_records(row_added("refused", refused)(late(valid())))) == set()


def test_a_clean_attempt_may_be_followed_by_another() -> None:
    """An attempt of its owner that its PSP never saw may be left for another one."""
    records = second_attempt()(valid())
    assert violated(check_records(records)) == set()


def test_a_frozen_replica_is_no_violation_where_the_books_vouch() -> None:
    """While the queue's replica is frozen an order that its owner has taken in may be acknowledged."""
    records = frozen_copy("redis_replica")(valid())
    assert violated(check_records(records)) <= {"I28"}
    orders = [row._replace(taken_in_unix_ns=1) for row in records.orders]
    assert violated(check_records(replace(records, orders=orders))) == set()


@pytest.mark.parametrize(
    "missing",
    [
        {"is_final_complete": False, "unread": ("one",)},
        {"unreadable": ("books.json is missing",)},
        {"documented": {}},
        {"queue": []},
        {"leak_bytes_scanned": 0},
        {"psps": ()},
        {"snapshots": []},
    ],
    ids=str,
)
def test_what_could_not_be_looked_at_makes_the_verdict_unknown(missing: dict[str, Any]) -> None:
    """A run of which something is not known is never valid."""
    report = check_records(swapped(valid(), **missing))
    assert report.verdict is Verdict.UNKNOWN
    assert report.reasons


@pytest.mark.parametrize("unread", list(Input))
def test_a_record_that_could_not_be_read_is_never_a_violation(unread: Input) -> None:
    """Without one of the independent records, what needs it says unknown, and nothing is made up."""
    tables: dict[Input, dict[str, Any]] = {
        Input.HISTORY: {"history": []},
        Input.BOOKS: {table: [] for table in (*_TABLES, "transfers") if table != "charges"},
        Input.ORACLE: {"charges": [], "psps": ()},
        Input.QUEUE: {"queue": []},
        Input.FAULTS: {"faults": []},
        Input.LEAKS: {"leak_bytes_scanned": 0},
        Input.SNAPSHOTS: {"snapshots": []},
        Input.WEBHOOKS: {"webhooks": {}},
    }
    records = swapped(
        valid(),
        **tables[unread],
        unread_inputs=frozenset({unread}),
        unreadable=(f"{unread} is missing",),
    )
    report = check_records(records)
    assert report.verdict is Verdict.UNKNOWN
    assert any(result.unknown for result in report.invariants)


def test_no_records_at_all_are_unknown() -> None:
    """Nothing follows from nothing."""
    assert check_records(Records()).verdict is Verdict.UNKNOWN


def test_a_violation_stands_also_when_something_is_missing() -> None:
    """What was found wrong is not excused by what could not be read."""
    records = replace(PLANTED[0].plant(valid()), is_final_complete=False)
    assert check_records(records).verdict is Verdict.VIOLATED


def test_what_this_kind_of_run_can_not_show_is_not_passed() -> None:
    """A simulation that logs nothing says so, and the invariant counts as not checked."""
    records = replace(valid(), leak_bytes_scanned=0, not_shown={"I24": "nothing is logged"})
    report = check_records(records)
    assert report.verdict is Verdict.VALID
    found = next(each for each in report.invariants if each.invariant == "I24")
    assert (found.not_yet, found.checked) == ("nothing is logged", 0)


def test_a_planned_cell_that_was_not_met_makes_the_verdict_unknown() -> None:
    """A fault that was planned and not made is told; one that was skipped for a reason is not held against it."""
    cells = ("kill/host/before_append", "network/node/namespace_down")
    run = valid().run._replace(planned_cells=cells)
    skipped = FaultRecord(1, cells[1], FaultPhase.SKIPPED, "needs root")
    report = check_records(replace(valid(), run=run, faults=[skipped]))
    assert report.verdict is Verdict.UNKNOWN
    assert [row.skipped for row in report.coverage] == [0, 1]
    begun = [FaultRecord(1, cells[0], phase) for phase in (FaultPhase.BEGIN, FaultPhase.END)]
    assert (
        check_records(replace(valid(), run=run, faults=[skipped, *begun])).verdict is Verdict.VALID
    )


def test_a_timeline_tells_what_all_records_say_in_order() -> None:
    """Around a double charge stand the client's requests, the attempts, the charges and the fault."""
    planted = next(each for each in PLANTED if each.name == "two charges of one order")
    records = planted.plant(valid())
    fault = FaultRecord(records.history[0].at_ns + 1, "kill/host/after_psp_call", FaultPhase.BEGIN)
    report = check_records(replace(records, faults=[fault]))
    first = next(each for each in report.invariants if each.invariant == "I4").first
    assert first is not None
    assert {line.source for line in first.timeline} == {"client", "ledger", "psp", "fault"}
    times = [line.at_ms for line in first.timeline if line.at_ms is not None]
    assert times == sorted(times)
    assert any("ch_second" in line.text for line in first.timeline)
