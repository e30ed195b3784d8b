"""A settlement report against the books: what matches, what resolves, what contradicts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from ops import reconciling
from ops.commands.reconciling import absence_text
from ops.reconciling import ABSENT, BREAKS_LISTED_MAX, Finding, Reconciler, Reconciliation, judge
from payments.evidence import EvidenceSource
from payments.identity import PspKey, psp_key
from payments.lifecycle import PaymentState
from payments.rows import EvidenceVerdict
from psp.port import SettlementLine
from storage.evidence import AttemptFound, AttemptKey, BookedOrder, EvidenceResult, Saying

AT = datetime(2026, 11, 24, tzinfo=UTC)
KEY = PspKey(UUID(int=5), 1)
UNKNOWN = AttemptFound(
    partition_index=0,
    order_no=1,
    order_uuid=KEY.order_uuid,
    amount_minor=500,
    currency="USD",
    attempt_no=1,
    psp="simulator",
    open_attempt_no=1,
    is_outcome_known=False,
    ended_status=None,
    ended_attempt_no=None,
    amount_captured_minor=None,
    ended_currency=None,
    failure_code=None,
    is_parked=False,
    is_capture_open=False,
)
SETTLED = UNKNOWN._replace(
    open_attempt_no=None,
    is_outcome_known=None,
    ended_status=PaymentState.SUCCEEDED,
    ended_attempt_no=1,
    amount_captured_minor=500,
    ended_currency="USD",
)
AUTHORIZED = SETTLED._replace(ended_status=PaymentState.REQUIRES_CAPTURE, amount_captured_minor=0)
PARTLY = SETTLED._replace(ended_status=PaymentState.PARTIALLY_CAPTURED, amount_captured_minor=200)
FAILED = SETTLED._replace(ended_status=PaymentState.FAILED, amount_captured_minor=0)


def a_line(key: PspKey = KEY, **changes: Any) -> SettlementLine:
    said: dict[str, Any] = {
        "reference": "ch_1",
        "psp_key": psp_key(*key),
        "merchant_id": "mrc_x",
        "order_key": None,
        "amount_minor": 500,
        "captured_minor": 500,
        "refunded_minor": 0,
        "fee_minor": 10,
        "currency": "USD",
        "status": "captured",
        "at": AT,
    }
    return SettlementLine(**{**said, **changes})


@pytest.mark.parametrize(
    ("line", "found", "finding"),
    [
        (a_line(), UNKNOWN, Finding.RESOLVABLE),
        (a_line(), UNKNOWN._replace(is_outcome_known=True), Finding.UNDER_WAY),
        (a_line(), UNKNOWN._replace(open_attempt_no=2), Finding.BREAK),
        (a_line(captured_minor=499), UNKNOWN, Finding.BREAK),
        (a_line(currency="EUR"), UNKNOWN, Finding.BREAK),
        (a_line(captured_minor=0, status="declined"), UNKNOWN, Finding.RESOLVABLE),
        (a_line(captured_minor=0, status="authorized"), UNKNOWN, Finding.UNDER_WAY),
        (a_line(), SETTLED, Finding.MATCHED),
        (a_line(captured_minor=499), SETTLED, Finding.BREAK),
        (a_line(), SETTLED._replace(ended_attempt_no=2), Finding.BREAK),
        (a_line(captured_minor=0, status="declined"), SETTLED, Finding.BREAK),
        (a_line(), FAILED, Finding.BREAK),
        (a_line(captured_minor=0, status="declined"), FAILED, Finding.MATCHED),
        (a_line(), None, Finding.BREAK),
        (a_line(captured_minor=0, status="authorized"), AUTHORIZED, Finding.MATCHED),
        (a_line(), AUTHORIZED, Finding.BREAK),
        (a_line(), AUTHORIZED._replace(is_capture_open=True), Finding.UNDER_WAY),
        (a_line(captured_minor=200), PARTLY, Finding.MATCHED),
        (a_line(captured_minor=300), PARTLY, Finding.BREAK),
        (a_line(captured_minor=300), PARTLY._replace(is_capture_open=True), Finding.UNDER_WAY),
        (a_line(captured_minor=100), PARTLY._replace(is_capture_open=True), Finding.BREAK),
    ],
)
def test_each_line_is_judged(
    line: SettlementLine, found: AttemptFound | None, finding: Finding
) -> None:
    """Only what its order waits for resolves; whatever else moved money must be in the books as it was."""
    judged, why = judge(line, KEY, found)
    assert judged is finding
    assert bool(why) == (finding is Finding.BREAK)


class Store:
    """Holds unknown orders by their UUIDs, and answers as the books would."""

    def __init__(self, unknown: Sequence[UUID]) -> None:
        self.unknown = set(unknown)
        self.said: list[Saying] = []
        self.chunk_lines_max = 0
        self.charged: list[BookedOrder] = []
        self.pages = 0

    async def attempts(self, keys: Sequence[AttemptKey]) -> Mapping[int, AttemptFound]:
        self.chunk_lines_max = max(self.chunk_lines_max, len(keys))
        return {
            place: UNKNOWN._replace(order_uuid=key.order_uuid, order_no=key.order_uuid.int)
            for place, key in enumerate(keys)
            if key.order_uuid in self.unknown
        }

    async def give(self, said: Sequence[Saying], *, actor: str, text: str) -> Sequence[int]:
        self.said += said
        return [one.order_no for one in said]

    async def results(self, evidence_nos: Sequence[int]) -> Mapping[int, EvidenceResult]:
        self.unknown -= {UUID(int=number) for number in evidence_nos}
        return {number: EvidenceResult(EvidenceVerdict.ACCEPTED, "") for number in evidence_nos}

    async def count_unknown(self, psp: str) -> int:
        return len(self.unknown)

    async def time(self) -> datetime:
        return AT + timedelta(hours=1)

    async def booked(
        self, psp: str, partition_index: int, *, below: int, until: datetime, count_max: int
    ) -> Sequence[BookedOrder]:
        assert (psp, until) == ("simulator", AT + timedelta(hours=1))
        self.pages += 1
        if partition_index:
            return []
        newest_first = sorted(self.charged, key=lambda order: -order.order_no)
        return [order for order in newest_first if order.order_no < below][:count_max]


async def report(lines: Sequence[SettlementLine]) -> AsyncIterator[SettlementLine]:
    for line in lines:
        yield line


async def test_a_report_is_read_in_chunks() -> None:
    """What is unknown resolves, foreign lines are counted, breaks beyond the list are counted too."""
    ours = [PspKey(UUID(int=number), 1) for number in range(1, 701)]
    store = Store([key.order_uuid for key in ours] + [UUID(int=9_000)])
    strange = [PspKey(UUID(int=10_000 + number), 1) for number in range(BREAKS_LISTED_MAX + 50)]
    lines = [a_line(key) for key in [*ours, *strange]] + [a_line(psp_key="somebody")]
    reconciler = Reconciler(store, psp="simulator", partition_count=16, actor="tests", wait_s=1)
    done = await reconciler.run(report(lines), since=AT)
    assert (done.line_count, done.resolved_count, done.unknown_count) == (len(lines), 700, 1)
    assert done.counts[Finding.FOREIGN] == 1
    assert done.counts[Finding.BREAK] == BREAKS_LISTED_MAX + 50
    assert len(done.breaks) == BREAKS_LISTED_MAX
    assert {one.source for one in store.said} == {EvidenceSource.SETTLEMENT_REPORT}
    assert store.chunk_lines_max <= 500


def a_booked(number: int, taken_in_at: datetime, *, is_charged: bool = True) -> BookedOrder:
    charge = (1, "ch_y", 500, "USD") if is_charged else (None, None, None, None)
    return BookedOrder(number, UUID(int=number), taken_in_at, is_charged, *charge)


async def reconciled(store: Store, lines: Sequence[SettlementLine]) -> Reconciliation:
    reconciler = Reconciler(store, psp="simulator", partition_count=2, actor="tests", wait_s=1)
    return await reconciler.run(report(lines), since=AT)


async def test_a_charge_that_the_report_does_not_have_is_a_break(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was booked in the report's time and is not in it is a break; older and failed orders aren't."""
    monkeypatch.setattr(reconciling, "PAGE_ORDERS", 2)
    within = AT + timedelta(minutes=30)
    store = Store([UUID(int=8)])
    store.charged = [
        a_booked(1, AT - timedelta(days=3)),
        a_booked(2, AT - timedelta(days=2)),
        a_booked(3, AT - timedelta(days=1)),
        a_booked(4, AT + timedelta(seconds=1)),
        a_booked(5, within),
        a_booked(6, within, is_charged=False),
        a_booked(7, within),
    ]
    # The one line of the report is about an order of the books, and of the same partition.
    store.charged.append(a_booked(8, within))
    done = await reconciled(store, [a_line(PspKey(UUID(int=8), 1))])
    assert (done.absent_count, done.counts[Finding.BREAK], done.resolved_count) == (2, 2, 1)
    expected = [(psp_key(UUID(int=number), 1), "ch_y", 500, "USD", ABSENT) for number in (7, 5)]
    assert done.breaks == expected
    # Three pages until the range's begin, and one of the other partition.
    assert store.pages == 4
    assert "but for 2" in absence_text(done)


async def test_a_report_too_long_to_remember_says_that_absence_was_not_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No break is told of what could not be checked; the output says so, and what checks it."""
    monkeypatch.setattr(reconciling, "LINES_REMEMBERED_MAX", 1)
    store = Store([UUID(int=8), UUID(int=9)])
    store.charged = [a_booked(5, AT + timedelta(minutes=30))]
    lines = [a_line(PspKey(UUID(int=number), 1)) for number in (8, 9)]
    done = await reconciled(store, lines)
    assert (done.absent_count, done.counts[Finding.BREAK], store.pages) == (0, 0, 0)
    assert absence_text(done).startswith("Not checked")
    assert "tally verify" in absence_text(done)
