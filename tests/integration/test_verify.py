"""`tally verify` against books and records in which something is wrong: each wrong is named, with its order."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from rich.console import Console

from ops.verify import checks, ledger_checks, oracle
from ops.verify.oracle import TOTALS_BYTES_MAX
from ops.verify.progress import VerifyProgress
from ops.verify.report import CheckResult, Report, State
from ops.verify.verification import step_count, verify
from payments.identity import order_uuid, psp_key
from payments.mode import Mode
from psp.simulator.wire import ChargeStatus, CurrencyTotals
from runtime.config import Config
from runtime.psp_config import PspConfig
from storage.sql_files import parse_statements
from storage.verifying import Plain, Snapshot
from tests.servers import SharedServers
from tests.verified_books import (
    PSP,
    SPLIT_KEYS,
    TEMPLATE,
    OracleStandIn,
    VerifiedBooks,
    ask,
    config_of,
    make_books,
    totals_of,
)

_COPIES = itertools.count(1)


@dataclass(slots=True, kw_only=True)
class Scene:
    """A copy of the books with a record of its own, and the orders that things are done to."""

    dsn: str
    config: Config
    oracle: OracleStandIn
    names: Mapping[str, int | str] = field(default_factory=dict)
    """What the SQL of a corruption may name: see ``_VICTIMS``."""

    async def report(self) -> Report:
        console = Console(quiet=True)
        with VerifyProgress(console, step_count=step_count(self.config)) as progress:
            return await verify(self.config, progress)

    async def plant(self, sql: str) -> None:
        """Do what no role of ours may do."""
        await ask(self.dsn, sql.format(**self.names))

    def charge_index(self, victim: str) -> int:
        """Which row of the record is of this order."""
        key = self.names[f"{victim}_key"]
        return next(i for i, row in enumerate(self.oracle.rows) if row.order_key == key)


# One order of each kind, in the middle of its partition: $1 is the state it stands in.
_VICTIMS = """
SELECT o.partition_index, o.order_no, o.idempotency_key::text AS order_key, o.order_uuid::text,
       coalesce(ended.batch_seq, 0) AS batch_seq, coalesce(moved.debit_account_no, 0) AS debit,
       coalesce(moved.credit_account_no, 0) AS credit, held.order_no_last AS last
FROM payment_order AS o
JOIN partition AS held USING (partition_index)
LEFT JOIN order_outcome AS ended USING (partition_index, order_no)
LEFT JOIN open_order AS running USING (partition_index, order_no)
LEFT JOIN transfer AS moved
    ON moved.partition_index = o.partition_index AND moved.order_no = o.order_no AND moved.step = 1
LEFT JOIN payment_standing AS stands
    ON stands.partition_index = o.partition_index AND stands.order_no = o.order_no
WHERE coalesce(ended.status, running.status) = $1
    -- Of those that were authorized the one that still is.
    AND ($1 <> 4 OR stands.status = 4)
ORDER BY o.order_no IN (1, held.order_no_last), running.is_outcome_known DESC NULLS LAST,
         held.order_no_last DESC, o.partition_index, o.order_no
LIMIT 1
"""

_STANDINGS = (("paid", 5), ("failed", 7), ("open", 2), ("acting", 3), ("held", 4))


@pytest.fixture(scope="module")
def books(
    servers: SharedServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VerifiedBooks]:
    yield make_books(servers, tmp_path_factory.mktemp("verified-books"))
    servers.drop_database(TEMPLATE)


@pytest.fixture
async def scene(books: VerifiedBooks) -> AsyncIterator[Scene]:
    database = f"verified_{next(_COPIES)}"
    dsn = books.servers.create_database(database, template=TEMPLATE)
    async with AsyncExitStack() as stack:
        stack.callback(books.servers.drop_database, database)
        oracle = OracleStandIn(books.charges)
        await stack.enter_async_context(oracle.serving())
        names: dict[str, int | str] = {}
        for victim, status in _STANDINGS:
            row = (await ask(dsn, _VICTIMS, status))[0]
            for short, column in (
                *(("p", "partition_index"), ("n", "order_no"), ("key", "order_key")),
                *(("uuid", "order_uuid"), ("batch", "batch_seq"), ("debit", "debit")),
                *(("credit", "credit"), ("last", "last")),
            ):
                names[f"{victim}_{short}"] = row[column]
            names[victim] = "partition_index = {partition_index} AND order_no = {order_no}".format(
                **row
            )
        place = f"array_position(partition_indexes, {names['paid_p']}::smallint)"
        names |= {"at_line": place, "line": f"batch_seqs[{place}] = {names['paid_batch']}"}
        yield Scene(dsn=dsn, config=books.config(database, oracle.url), oracle=oracle, names=names)


def result(report: Report, name: str) -> CheckResult:
    """One check's result; those of a PSP's record go by its name as well."""
    shown = f"{name}:{PSP}" if name in checks.ORACLE else name
    return next(check for check in report.checks if check.name == shown)


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


def names_order(found: CheckResult, partition_index: int | str, order_no: int | str) -> bool:
    """Whether the place, or a row of the story, is of this order."""
    assert found.first is not None
    place = found.first.place
    rows: list[Mapping[str, Plain]] = [row for part in found.first.story.values() for row in part]
    return any(
        {**place, **row}.get("order_no") == order_no
        and {**place, **row}.get("partition_index") == partition_index
        for row in [place, *rows]
    )


# --- wrong records -------------------------------------------------------------------------------------


def _charge_lost(scene: Scene) -> None:
    del scene.oracle.rows[scene.charge_index("paid")]
    scene.oracle.renumber()


def _charge_other_amount(scene: Scene) -> None:
    index = scene.charge_index("paid")
    scene.oracle.change(index, captured=scene.oracle.rows[index].captured + 1)


def _split_charge_other_amount(scene: Scene) -> None:
    index = next(
        i for i, row in enumerate(scene.oracle.rows) if row.order_key == str(SPLIT_KEYS[0])
    )
    scene.oracle.change(index, captured=scene.oracle.rows[index].captured + 1)


def _charge_other_currency(scene: Scene) -> None:
    scene.oracle.change(scene.charge_index("paid"), currency="CHF")


def _charge_other_reference(scene: Scene) -> None:
    scene.oracle.change(scene.charge_index("paid"), reference="ch_other")


def _charge_refunded(scene: Scene) -> None:
    scene.oracle.change(scene.charge_index("paid"), refunded=7)


def _charge_not_captured(scene: Scene) -> None:
    index = scene.charge_index("paid")
    scene.oracle.change(index, captured=0, status=ChargeStatus.VOIDED)


def _decline_charged(scene: Scene) -> None:
    index = scene.charge_index("failed")
    amount = scene.oracle.rows[index].amount
    scene.oracle.change(index, captured=amount, status=ChargeStatus.CAPTURED)


def _charged_by_two_attempts(scene: Scene) -> None:
    first = scene.oracle.rows[scene.charge_index("paid")]
    key = first.key[:-1] + "d"
    scene.oracle.rows.append(msgspec.structs.replace(first, key=key, reference="ch_second"))
    scene.oracle.renumber()


def _charged_under_a_foreign_key(scene: Scene) -> None:
    first = scene.oracle.rows[scene.charge_index("paid")]
    scene.oracle.rows.append(msgspec.structs.replace(first, key="mine", reference="ch_second"))
    scene.oracle.renumber()


def _recorded_twice(scene: Scene) -> None:
    scene.oracle.rows.append(scene.oracle.rows[scene.charge_index("paid")])
    scene.oracle.renumber()


def _charge_of_another_merchant(scene: Scene) -> None:
    scene.oracle.change(scene.charge_index("paid"), merchant="mrc_other")


def _evidence_uncharged(scene: Scene) -> None:
    scene.oracle.change(scene.charge_index("paid"), captured=0, status=ChargeStatus.VOIDED)


def _evidence_charged(scene: Scene) -> None:
    amount = scene.oracle.rows[scene.charge_index("failed")].amount
    scene.oracle.change(scene.charge_index("failed"), captured=amount, status=ChargeStatus.CAPTURED)


def _charge_of_no_order(scene: Scene) -> None:
    # A right key of an order that was never accepted: derived here as the engine does.
    row = scene.oracle.rows[scene.charge_index("paid")]
    key = UUID(int=1 << 100, version=4)
    stray = msgspec.structs.replace(
        row,
        key=psp_key(order_uuid(row.merchant, Mode.TEST, key), 1),
        order_key=str(key),
        reference="ch_stray",
    )
    scene.oracle.rows.append(stray)
    scene.oracle.renumber()


def _change(victim: str, **changes: object) -> Callable[[Scene], None]:
    """What alters the charge of one order."""
    return lambda scene: scene.oracle.change(scene.charge_index(victim), **changes)


def _hold_lost(scene: Scene) -> None:
    del scene.oracle.rows[scene.charge_index("held")]
    scene.oracle.renumber()


def _hold_of_ten_times_the_amount(scene: Scene) -> None:
    index = scene.charge_index("held")
    scene.oracle.change(index, amount=scene.oracle.rows[index].amount * 10)


def _given_back_and_still_held(scene: Scene) -> None:
    rows = scene.oracle.rows
    index = next(i for i, row in enumerate(rows) if row.status is ChargeStatus.VOIDED)
    scene.oracle.change(index, status=ChargeStatus.AUTHORIZED)


def _again(victim: str, **changes: object) -> Callable[[Scene], None]:
    """What records another charge of an order, under the key of its second attempt."""

    def alter(scene: Scene) -> None:
        first = scene.oracle.rows[scene.charge_index(victim)]
        key = first.key[:-1] + "d"
        second = msgspec.structs.replace(first, key=key, reference="ch_second", **changes)
        scene.oracle.rows.append(second)
        scene.oracle.renumber()

    return alter


def _two_of_one_reference(victim: str) -> Callable[[Scene], None]:
    """What gives an order's charge the reference of a paid one."""

    def alter(scene: Scene) -> None:
        reference = scene.oracle.rows[scene.charge_index("paid")].reference
        scene.oracle.change(scene.charge_index(victim), reference=reference)

    return alter


WRONG_RECORDS: Mapping[str, tuple[Callable[[Scene], None], str, str | None]] = {
    "charge_lost": (_charge_lost, "transfers_are_charged", "paid"),
    "charge_amount": (_charge_other_amount, "charges_are_booked", "paid"),
    "charge_amount_back": (_charge_other_amount, "transfers_are_charged", "paid"),
    "charge_amount_of_splits": (_split_charge_other_amount, "transfers_are_charged", None),
    "charge_currency": (_charge_other_currency, "charges_are_booked", "paid"),
    "charge_reference": (_charge_other_reference, "charges_are_booked", "paid"),
    "charge_refunded": (_charge_refunded, "charges_are_booked", "paid"),
    "charge_voided": (_charge_not_captured, "charges_are_booked", "paid"),
    "decline_charged": (_decline_charged, "charges_are_booked", "failed"),
    "evidence_uncharged": (_evidence_uncharged, "evidence_is_charged", "paid"),
    "evidence_charged": (_evidence_charged, "evidence_is_charged", "failed"),
    "evidence_amount": (_charge_other_amount, "evidence_is_charged", "paid"),
    "charged_by_two_attempts": (_charged_by_two_attempts, "orders_charged_once", "paid"),
    "charged_under_a_foreign_key": (_charged_under_a_foreign_key, "orders_charged_once", "paid"),
    "foreign_key": (_charged_under_a_foreign_key, "charges_are_booked", None),
    "recorded_twice": (_recorded_twice, "orders_charged_once", "paid"),
    "charge_of_another_merchant": (_charge_of_another_merchant, "charges_are_booked", None),
    "charge_of_no_order": (_charge_of_no_order, "charges_are_booked", None),
    "one_reference_of_two": (*(_two_of_one_reference("failed"), "references_recorded_once", None),),
    "one_reference_of_an_open_one": (
        *(_two_of_one_reference("open"), "references_recorded_once", None),
    ),
    "hold_lost": (_hold_lost, "transfers_are_charged", "held"),
    "hold_amount": (_hold_of_ten_times_the_amount, "charges_are_booked", "held"),
    "hold_currency": (_change("held", currency="JPY"), "charges_are_booked", "held"),
    "hold_reference": (_change("held", reference="ch_other"), "charges_are_booked", "held"),
    "hold_given_back": (
        *(_change("held", status=ChargeStatus.VOIDED), "charges_are_booked", "held"),
    ),
    "hold_declined": (
        *(_change("held", status=ChargeStatus.DECLINED), "charges_are_booked", "held"),
    ),
    "given_back_and_still_held": (_given_back_and_still_held, "charges_are_booked", None),
    "failed_and_held": (
        *(_change("failed", status=ChargeStatus.AUTHORIZED), "charges_are_booked", "failed"),
    ),
    "held_twice": (_again("held"), "charges_are_booked", "held"),
    "paid_and_held": (
        *(_again("paid", captured=0, status=ChargeStatus.AUTHORIZED), "charges_are_booked", "paid"),
    ),
    "declined_without_attempt": (_again("failed"), "charges_are_booked", "failed"),
    "decline_currency": (_change("failed", currency="JPY"), "charges_are_booked", "failed"),
    "refunded_without_capture": (_change("failed", refunded=500), "charges_are_booked", "failed"),
    "charged_back_without_capture": (
        *(_change("failed", charged_back=500), "charges_are_booked", "failed"),
    ),
    "captured_below_zero": (_change("failed", captured=-5), "charges_are_booked", "failed"),
    "open_and_of_another_amount": (_change("open", amount=7), "charges_are_booked", "open"),
    "open_and_of_another_currency": (_change("open", currency="JPY"), "charges_are_booked", "open"),
    "open_without_attempt": (_again("open"), "charges_are_booked", "open"),
}


@pytest.mark.parametrize("corruption", WRONG_RECORDS)
async def test_a_record_that_differs_from_the_books_is_named(scene: Scene, corruption: str) -> None:
    """Whatever a PSP charged otherwise than the books say, a check says so, and tells of the order."""
    alter, check, victim = WRONG_RECORDS[corruption]
    alter(scene)
    report = await scene.report()
    assert not report.is_ok
    found = result(report, check)
    assert found.state is State.FAILED, [c.name for c in report.checks if c.is_red]
    assert found.first is not None
    if victim is not None:
        assert names_order(found, scene.names[f"{victim}_p"], scene.names[f"{victim}_n"])


async def test_one_charge_of_two_payments_is_named_where_books_and_record_agree(
    scene: Scene,
) -> None:
    """Two payments under one reference are two payments of one charge, whatever both sides say."""
    _two_of_one_reference("held")(scene)
    reference = scene.oracle.rows[scene.charge_index("paid")].reference
    await scene.plant(f"UPDATE order_outcome SET psp_reference = '{reference}' WHERE {{held}}")
    report = await scene.report()
    assert result(report, "charges_are_booked").state is State.PASSED
    for name in ("references_are_unique", "references_recorded_once"):
        assert result(report, name).violations == 1


async def test_what_is_held_for_an_open_order_is_in_flight(scene: Scene) -> None:
    """A PSP may have authorized what we know no outcome of yet."""
    _change("open", status=ChargeStatus.AUTHORIZED, captured=0)(scene)
    report = await scene.report()
    assert report.is_ok
    assert report.charges_of_open_orders == 4


async def test_another_attempt_of_an_open_order_after_the_snapshot_is_in_flight(
    scene: Scene,
) -> None:
    """A charge that the PSP had not made before the snapshot may be of an attempt that is not in it."""
    scene.oracle.totals = totals_of(scene.oracle.rows)
    _again("open", captured=0, status=ChargeStatus.DECLINED)(scene)
    late = msgspec.structs.replace(scene.oracle.totals, charges=len(scene.oracle.rows))
    scene.oracle.totals_later = late
    assert (await scene.report()).is_ok


@pytest.mark.parametrize("status", [ChargeStatus.VOIDED, ChargeStatus.CAPTURED])
async def test_what_becomes_of_a_hold_after_the_snapshot_is_in_flight(
    scene: Scene, status: ChargeStatus
) -> None:
    """A void or a capture that the PSP made since is not in the books of the snapshot yet."""
    scene.oracle.totals = totals_of(scene.oracle.rows)
    index = scene.charge_index("held")
    row = scene.oracle.rows[index]
    captured = row.amount if status is ChargeStatus.CAPTURED else 0
    changed = scene.oracle.totals.changes + 1
    scene.oracle.change(index, status=status, captured=captured, changed=changed)
    scene.oracle.totals_later = totals_of(scene.oracle.rows)
    report = await scene.report()
    assert report.is_ok
    assert report.charges_of_newer_orders == 1


async def test_a_hold_is_in_flight_while_an_operation_on_it_is_open(scene: Scene) -> None:
    """A void that is under way may have been done at the PSP already."""
    _change("held", status=ChargeStatus.VOIDED)(scene)
    await scene.plant(
        "INSERT INTO operation SELECT (jsonb_populate_record(op, jsonb_build_object('partition_index',"
        " {held_p}, 'order_no', {held_last} + 1, 'payment_no', {held_n}, 'operation_uuid',"
        " gen_random_uuid()))).* FROM operation AS op WHERE kind = 2 LIMIT 1;"
        "INSERT INTO open_order SELECT (jsonb_populate_record(running, jsonb_build_object("
        "'partition_index', {held_p}, 'order_no', {held_last} + 1))).* FROM open_order AS running LIMIT 1"
    )
    assert result(await scene.report(), "charges_are_booked").state is State.PASSED


async def test_what_was_canceled_before_another_attempt_is_no_fault(scene: Scene) -> None:
    """An attempt that timed out is canceled at the PSP, which gives back what it held; the next one is charged."""
    index = scene.charge_index("paid")
    captured = scene.oracle.rows[index].captured
    _again("paid")(scene)
    scene.oracle.change(index, status=ChargeStatus.VOIDED, captured=0)
    assert captured > 0
    await scene.plant(
        "UPDATE order_outcome SET attempt_no = 2, psp_reference = 'ch_second' WHERE {paid}"
    )
    report = await scene.report()
    assert result(report, "charges_are_booked").state is State.PASSED
    assert result(report, "transfers_are_charged").state is State.PASSED


# --- what can't be read --------------------------------------------------------------------------------

# Deeper than any stack.
_NESTED = b"[" * 200_000 + b"]" * 200_000


def _gap(scene: Scene) -> None:
    del scene.oracle.rows[3]


def _garbled(scene: Scene) -> None:
    scene.oracle.garbage = b'{"n": 2, "reference": \n'


def _row_nested_too_deep(scene: Scene) -> None:
    scene.oracle.garbage = b'{"x":' + _NESTED + b"}\n"


def _totals_nested_too_deep(scene: Scene) -> None:
    scene.oracle.totals_body = _NESTED


def _empty_line(scene: Scene) -> None:
    scene.oracle.totals = totals_of(scene.oracle.rows)
    scene.oracle.rows.insert(1, scene.oracle.rows[1])
    scene.oracle.garbage = b"\n"


def _empty_lines_for_ever(scene: Scene) -> None:
    scene.oracle.endless["charges"] = b"\n"


def _totals_without_an_end(scene: Scene) -> None:
    scene.oracle.endless["totals"] = b" " * (TOTALS_BYTES_MAX // 4)


def _huge_amount(scene: Scene) -> None:
    scene.oracle.change(0, captured=2**70)


def _cut(scene: Scene) -> None:
    scene.oracle.cut_bytes = 40


def _rows_missing_at_the_end(scene: Scene) -> None:
    scene.oracle.totals = totals_of(scene.oracle.rows)
    del scene.oracle.rows[-2:]


def _sums_differ(scene: Scene) -> None:
    totals = totals_of(scene.oracle.rows)
    totals.by_currency["USD"] = CurrencyTotals(captured=1)
    scene.oracle.totals = totals


def _charges_refused(scene: Scene) -> None:
    scene.oracle.charges_status = 500


def _totals_refused(scene: Scene) -> None:
    scene.oracle.totals_status = 503


def _unreachable(scene: Scene) -> None:
    psp = msgspec.structs.replace(scene.config.psps[0], url="http://127.0.0.1:1")
    scene.config = msgspec.structs.replace(scene.config, psps=[psp])


@pytest.mark.parametrize(
    "spoil",
    [
        *(_gap, _garbled, _huge_amount, _cut, _rows_missing_at_the_end, _sums_differ),
        *(_charges_refused, _totals_refused, _unreachable),
        *(_row_nested_too_deep, _totals_nested_too_deep, _empty_line, _empty_lines_for_ever),
        _totals_without_an_end,
    ],
)
async def test_a_record_that_cannot_be_read_is_red(
    scene: Scene, spoil: Callable[[Scene], None]
) -> None:
    """A PSP's record that is away, cut, garbled, or not what its totals say proves nothing: red, and no zero."""
    spoil(scene)
    report = await scene.report()
    assert not report.is_ok
    for name in checks.ORACLE:
        unread = result(report, name)
        assert (unread.state, unread.checked, unread.violations) == (State.UNREADABLE, None, None)
        assert unread.detail
    assert {result(report, name).state for name in checks.LEDGER} == {State.PASSED}


@pytest.mark.parametrize("asked", ["totals", "charges"])
async def test_a_record_that_is_sent_for_ever_is_red(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """A server that is never silent, and never done, is left when its time is over."""
    for limit in ("TOTALS_S_MAX", "READING_S_MAX"):
        monkeypatch.setattr(oracle, limit, 0.3)
    scene.oracle.endless[asked] = b" "
    report = await scene.report()
    unread = result(report, "oracle")
    assert unread.state is State.UNREADABLE
    assert asked in (unread.detail or "")
    assert {result(report, name).state for name in checks.LEDGER} == {State.PASSED}


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
    database = f"verified_{next(_COPIES)}"
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
