"""`tally verify` without stores: its derivations, its reading of records, and how it tells what it found."""

from __future__ import annotations

import io
import json
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ops.commands.verify import print_report
from ops.output import Output
from ops.verify import checks, progress
from ops.verify.identities import charged_attempt, derived_partition, derived_uuid
from ops.verify.oracle import READING_S_MAX, OracleUnreadable, Tally, reading_s_max
from ops.verify.progress import LINE_EVERY_S, QUIET_S, VerifyProgress
from ops.verify.report import CheckResult, Finding, Report, State
from ops.verify.results import unreadable, without_record
from ops.verify.verification import peak_memory_bytes
from payments.identity import order_uuid, psp_key
from payments.mode import Mode
from payments.partitioning import partition_index
from psp.simulator.wire import OracleRow, Totals
from storage import verifying
from tests.source_tree import texts
from tests.verified_books import totals_of

MERCHANT = "mrc_bcdfghjkmnpqrstvbcdf"

# --- what is checked -----------------------------------------------------------------------------------


def test_every_check_is_documented() -> None:
    """Whoever sees a check's name can read in the handbook what it says."""
    handbook = texts()["docs/operations.md"]
    shown = [name if name in checks.LEDGER else f"{name}:<psp>" for name in checks.EVERY]
    assert [name for name in shown if f"\n| `{name}` | " not in handbook] == []


def test_every_check_has_its_statement_and_no_statement_is_forgotten() -> None:
    """A check is a statement of its own name; a statement that no check runs would look like one."""
    assert set(verifying._CHECKS) == {*checks.LEDGER, *checks.COMPARISONS}


# --- identities ----------------------------------------------------------------------------------------


@given(key=st.uuids(), mode=st.sampled_from(Mode), attempt_no=st.integers(1, 2**15 - 1))
def test_identities_are_derived_as_the_engine_derives_them(
    key: UUID, mode: Mode, attempt_no: int
) -> None:
    """Two derivations that share no code agree on every order, partition and PSP key."""
    identity = order_uuid(MERCHANT, mode, key)
    assert derived_uuid(f"{MERCHANT}|{mode.wire}|{key}") == identity.bytes
    assert derived_partition(identity.bytes, 16) == partition_index(identity, 16)
    attempt = charged_attempt(psp_key(identity, attempt_no), MERCHANT, str(key))
    assert attempt == (identity.bytes, attempt_no)


@pytest.mark.parametrize(
    ("key", "merchant", "order_key"),
    [
        ("mine", MERCHANT, UUID(int=1)),
        (psp_key(order_uuid(MERCHANT, Mode.TEST, UUID(int=1)), 1), "mrc_other", UUID(int=1)),
        (psp_key(order_uuid(MERCHANT, Mode.TEST, UUID(int=1)), 1), MERCHANT, UUID(int=2)),
        (psp_key(order_uuid(MERCHANT, Mode.TEST, UUID(int=1)), 1), MERCHANT, None),
        # Another spelling of attempt 1 than the one that is sent: 01.
        (
            psp_key(order_uuid(MERCHANT, Mode.TEST, UUID(int=1)), 1)[:-1] + "bc",
            MERCHANT,
            UUID(int=1),
        ),
    ],
)
def test_a_charge_under_a_key_of_another_order_is_nobodys(
    key: str, merchant: str, order_key: UUID | None
) -> None:
    """A charge belongs to an order only if its key derives from the merchant and key that it names."""
    assert charged_attempt(key, merchant, None if order_key is None else str(order_key)) is None


# --- the PSP's record ----------------------------------------------------------------------------------


def charge(n: int, *, captured: int = 100) -> OracleRow:
    document = {
        "n": n,
        "reference": f"ch_{n}",
        "key": "k",
        "merchant": "m",
        "order_key": None,
        "amount": 100,
        "currency": "EUR",
        "status": "captured",
        "captured": captured,
        "refunded": 0,
        "at": "2026-11-01T12:00:00Z",
    }
    return msgspec.convert(document, OracleRow)


def test_a_record_that_grew_while_it_was_read_is_whole() -> None:
    """Between the totals before and after is where a growing record must lie; that is no fault."""
    rows = [charge(1), charge(2), charge(3)]
    tally = Tally()
    for row in rows[:2]:
        tally.add(row)
    tally.check_between(totals_of(rows[:1]), totals_of(rows))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            totals_of([charge(1), charge(2), charge(3)]),
            totals_of([charge(1), charge(2), charge(3)]),
        ),
        (totals_of([]), totals_of([charge(1)])),
        (totals_of([]), totals_of([charge(1), charge(2, captured=99)])),
    ],
    ids=["fewer than before", "more than after", "other sums"],
)
def test_a_record_that_does_not_fit_its_totals_is_unreadable(before: Totals, after: Totals) -> None:
    """What the record says of itself and what was read of it must agree."""
    tally = Tally()
    tally.add(charge(1))
    tally.add(charge(2))
    with pytest.raises(OracleUnreadable):
        tally.check_between(before, after)


def test_a_record_with_a_gap_is_unreadable() -> None:
    """A charge that is not the next one means that one is missing, or came twice."""
    tally = Tally()
    tally.add(charge(1))
    with pytest.raises(OracleUnreadable, match="charge 3 comes where 2 is due"):
        tally.add(charge(3))


@pytest.mark.parametrize(
    ("charges", "seconds"), [(0, 60), (1_000_000, 1_060), (10**400, READING_S_MAX)]
)
def test_a_record_may_be_read_for_as_long_as_it_is(charges: int, seconds: int) -> None:
    """A long record has its time, whatever it says of itself not more than some hours."""
    assert reading_s_max(charges) == seconds


# --- telling -------------------------------------------------------------------------------------------


def passed(name: str = "timers") -> CheckResult:
    return CheckResult(name=name, claim="is so", state=State.PASSED, checked=3, violations=0)


def failed(name: str = "slices") -> CheckResult:
    return CheckResult(
        name=name,
        claim="is so",
        state=State.FAILED,
        checked=3,
        violations=1,
        first=Finding(
            place={"partition_index": 3, "account_no": 2},
            text="is at version 5 after 4 transfers",
            story={"slice": [{"version": 5, "account_no": 2}]},
        ),
    )


@pytest.mark.parametrize(
    ("results", "is_ok"),
    [
        ([passed()], True),
        ([passed(), without_record("oracle:bench")], True),
        ([passed(), failed()], False),
        ([passed(), unreadable("chain", "no table")], False),
        ([], False),
    ],
)
def test_green_is_only_what_was_looked_at(results: list[CheckResult], is_ok: bool) -> None:
    """A failure, something unreadable, and no check at all are red; no record is neither."""
    report = Report(checks=results)
    assert report.is_ok is is_ok
    assert report.document()["ok"] is is_ok


def test_the_document_has_what_programs_read() -> None:
    """The JSON names each check with its state, counts and first finding; unknown counts are null."""
    report = Report(checks=[failed(), unreadable("chain", "no table")], charges_of_open_orders=2)
    document = json.loads(json.dumps(report.document()))
    assert document.keys() == {
        *("ok", "checks", "in_flight", "snapshot", "seconds", "peak_memory_bytes")
    }
    slices, chain = document["checks"]
    assert (slices["name"], slices["state"], slices["violations"]) == ("slices", "failed", 1)
    assert slices["first"]["place"] == {"partition_index": 3, "account_no": 2}
    assert (chain["state"], chain["checked"], chain["violations"]) == ("unreadable", None, None)
    assert document["in_flight"] == {"charges": 2, "of_open_orders": 2, "of_newer_orders": 0}


def told_of(*results: CheckResult) -> str:
    out = io.StringIO()
    report = Report(checks=list(results), snapshot={"taken_at": "noon"}, charges_of_newer_orders=1)
    print_report(report, Output({}, out=out, err=io.StringIO()))
    return out.getvalue()


def test_people_are_told_every_finding_and_the_first_ones_story() -> None:
    """The table is followed by a line a finding, what could not be read, one story, and the verdict."""
    told = told_of(unreadable("chain", "no table"), failed("slices"), failed("wallets"))
    assert "chain: no table" in told
    assert "In flight, and left out: 1 charge (0 of open orders, 1 of orders newer" in told
    found = [f"{name}, partition 3, account 2: is at version 5" for name in ("slices", "wallets")]
    story = "The story of slices, partition 3, account 2:"
    order = [told.index(text) for text in (*found, story, "version=5", "The books are NOT right")]
    assert order == sorted(order)
    assert told.count("version=5") == 1


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        ([passed()], "The books are whole"),
        ([passed(), failed()], "The books are NOT right"),
        ([passed(), unreadable("chain", "no table")], "The books could not be checked whole"),
        (
            [failed(), unreadable("chain", "no table")],
            "The books are NOT right, and could not be checked whole",
        ),
        ([], "The books could not be checked whole"),
    ],
)
def test_wrong_books_are_told_apart_from_unread_ones(
    results: list[CheckResult], verdict: str
) -> None:
    """The last sentence says whether the books are wrong, or only could not all be read."""
    assert told_of(*results).splitlines()[-1].startswith(f"{verdict}, as of noon")


# --- progress ------------------------------------------------------------------------------------------


class Hands:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_is_silent_at_first_and_then_tells_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    """What ends within two seconds says nothing; after that a terminal gets a bar, a log a line now and then."""
    hands = Hands()
    monkeypatch.setattr(progress, "time", hands)
    out = io.StringIO()
    console = Console(file=out, force_terminal=is_terminal, width=100)
    with VerifyProgress(console, step_count=3) as shown:
        with shown.step("one"):
            hands.now_s = QUIET_S - 0.1
        with shown.step("two"):
            assert out.getvalue() == ""
            with shown.step("three"):
                shown.tell("three", "7 of 9")
                hands.now_s = LINE_EVERY_S
                shown.tell("three", "8 of 9")
    assert "two, three (8 of 9)" in out.getvalue()
    # The bar counts the last step as well, after which none begins.
    assert ("3/3" if is_terminal else "1 of 3 done") in out.getvalue()


def test_the_peak_of_memory_is_our_own() -> None:
    """The kernel's mark of this process is told in bytes: more than Python takes, less than the machine has."""
    assert 10_000_000 < peak_memory_bytes() < 10_000_000_000
