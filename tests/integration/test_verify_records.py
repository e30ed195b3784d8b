"""`tally verify` against PSPs' records that differ from the books, or can't be read; and what is in flight of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

import msgspec
import pytest

from ops.verify import checks, oracle
from ops.verify.oracle import TOTALS_BYTES_MAX
from ops.verify.report import State
from payments.identity import order_uuid, psp_key
from payments.mode import Mode
from psp.simulator.wire import ChargeStatus, CurrencyTotals
from tests.verified_books import SPLIT_KEYS, totals_of
from tests.verified_scene import Scene, names_order, result

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
