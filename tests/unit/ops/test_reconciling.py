"""A settlement report against the books: what matches, what resolves, what contradicts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from ops.reconciling import BREAKS_LISTED_MAX, Finding, Reconciler, judge
from payments.evidence import EvidenceSource
from payments.identity import PspKey, psp_key
from payments.lifecycle import PaymentState
from payments.rows import EvidenceVerdict
from psp.port import SettlementLine
from storage.evidence import AttemptFound, AttemptKey, EvidenceResult, Saying

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
)
SETTLED = UNKNOWN._replace(
    open_attempt_no=None,
    is_outcome_known=None,
    ended_status=PaymentState.SUCCEEDED,
    ended_attempt_no=1,
    amount_captured_minor=500,
    ended_currency="USD",
)
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
    done = await reconciler.run(report(lines))
    assert (done.line_count, done.resolved_count, done.unknown_count) == (len(lines), 700, 1)
    assert done.counts[Finding.FOREIGN] == 1
    assert done.counts[Finding.BREAK] == BREAKS_LISTED_MAX + 50
    assert len(done.breaks) == BREAKS_LISTED_MAX
    assert {one.source for one in store.said} == {EvidenceSource.SETTLEMENT_REPORT}
    assert store.chunk_lines_max <= 500
