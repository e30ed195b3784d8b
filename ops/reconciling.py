"""A PSP's settlement report against the books: resolves what is unknown, and lists what contradicts.

The report is read line by line, the books in chunks of it; only counts, a bounded list of breaks and a
number for each line are kept. Then the books are read for charges that the report should have, and has
not. Nothing but evidence is written, and only of orders whose outcome is unknown.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from payments.attempts import ResultClass
from payments.evidence import EvidenceSource
from payments.identity import PspKey, parse_psp_key, psp_key
from payments.lifecycle import PaymentState
from payments.partitioning import partition_index
from payments.rows import EvidenceVerdict
from psp.port import SettlementLine
from storage.evidence import AttemptFound, AttemptKey, BookedOrder, EvidenceStore, Saying

# A chunk is one statement of a few milliseconds, and about half a megabyte here.
CHUNK_LINES = 500
ABSENT = "charged in the books, and not in the report"
# More breaks than a person reads are counted, not listed.
BREAKS_LISTED_MAX = 1_000
# The statuses by which a PSP says that a charge was refused for good and moved nothing.
REFUSED_STATUSES = frozenset({"declined", "canceled"})

# What the report had is remembered, about 70 bytes a line, to find what it has not. Beyond that the
# command would take the memory of a host; a shorter range can be asked for.
LINES_REMEMBERED_MAX = 1_000_000
# The report's range is by the PSP's clock, orders are by the books'. Clocks that differ by more are a fault.
CLOCK_SKEW_MAX = timedelta(minutes=5)
# A statement of some ten milliseconds.
PAGE_ORDERS = 5_000

_ABOVE_ALL_ORDERS = 2**62
_LOOK_S = 0.2


class Finding(Enum):
    """What one line of the report is to the books. The values are shown to people."""

    MATCHED = "matched"
    RESOLVABLE = "resolvable"
    """Its order waits for exactly this."""
    UNDER_WAY = "under way"
    """Its order, or a capture of it, is open, and the outcome not unknown: the owner is about to hear of it."""
    FOREIGN = "not ours"
    """No key of ours; it moved money for somebody else."""
    BREAK = "break"


class Break(NamedTuple):
    """A line that the books contradict, or a charge of theirs that the report does not have."""

    psp_key: str
    reference: str
    captured_minor: int
    currency: str
    why: str


@dataclass(slots=True, kw_only=True)
class Reconciliation:
    """What came of a report."""

    line_count: int = 0
    counts: Counter[Finding] = field(default_factory=Counter)
    resolved_count: int = 0
    refused_count: int = 0
    """Evidence that an owner refused: the order had changed meanwhile."""
    undecided_count: int = 0
    """Evidence that no owner has decided in time; it stays written."""
    unknown_count: int = 0
    """Orders at the PSP whose outcome is unknown afterwards."""
    breaks: list[Break] = field(default_factory=list)
    absent_count: int = 0
    """Charges of the books that the report does not have; they are breaks, too."""
    absence_since: datetime | None = None
    """Absence was checked of orders taken in since then; None where it was not checked."""
    absence_until: datetime | None = None
    """... and booked until then, by the books' time."""

    def add_break(self, one: Break) -> None:
        """Count it, and list it while there is room."""
        self.counts[Finding.BREAK] += 1
        if len(self.breaks) < BREAKS_LISTED_MAX:
            self.breaks.append(one)


def judge(
    line: SettlementLine, key: PspKey | None, found: AttemptFound | None
) -> tuple[Finding, str]:
    """Return what a line is to the books, and for a break why. The ladder is the specification."""
    is_charged = line.captured_minor > 0
    if key is None:
        return Finding.FOREIGN, ""
    if found is None:
        return _break_if(is_charged, "the books have no such attempt")
    if found.open_attempt_no is not None:
        return _judge_open(line, found, is_charged=is_charged)
    is_succeeded = found.ended_status in (PaymentState.SUCCEEDED, PaymentState.PARTIALLY_CAPTURED)
    is_ending = found.ended_attempt_no == found.attempt_no
    if not is_charged:
        return _break_if(
            is_succeeded and is_ending, "the books say that it was charged, the PSP that it was not"
        )
    if (
        is_ending
        and found.is_capture_open
        and line.captured_minor > (found.amount_captured_minor or 0)
    ):
        return Finding.UNDER_WAY, ""
    if not is_succeeded:
        status = PaymentState(found.ended_status or 0).wire
        return Finding.BREAK, f"charged at the PSP, and {status} in the books"
    if not is_ending:
        return Finding.BREAK, f"the order was charged by its attempt {found.ended_attempt_no}"
    booked = (found.amount_captured_minor, found.ended_currency)
    is_same = booked == (line.captured_minor, line.currency)
    return _break_if(not is_same, f"the books say {booked[0]} {booked[1]}")


def _judge_open(
    line: SettlementLine, found: AttemptFound, *, is_charged: bool
) -> tuple[Finding, str]:
    if found.open_attempt_no != found.attempt_no:
        return _break_if(is_charged, f"the order has gone on to attempt {found.open_attempt_no}")
    if is_charged and (line.captured_minor, line.currency) != (
        found.amount_minor,
        found.currency,
    ):
        return Finding.BREAK, f"the order is of {found.amount_minor} {found.currency}"
    tells = is_charged or line.status in REFUSED_STATUSES
    return (Finding.RESOLVABLE if found.is_unknown and tells else Finding.UNDER_WAY), ""


def _break_if(is_break: bool, why: str) -> tuple[Finding, str]:
    return (Finding.BREAK, why) if is_break else (Finding.MATCHED, "")


class Reconciler:
    """Reads one report. Raises PspUnavailable or StorageUnavailable; what was written stays."""

    def __init__(
        self, store: EvidenceStore, *, psp: str, partition_count: int, actor: str, wait_s: float
    ) -> None:
        self._store = store
        self._psp = psp
        self._partition_count = partition_count
        self._actor = actor
        self._wait_s = wait_s
        self._done = Reconciliation()
        self._reported: set[int] | None = set()
        """Attempts of the books that the report has; None once there are too many."""

    async def run(
        self, report: AsyncIterator[SettlementLine], *, since: datetime
    ) -> Reconciliation:
        """Read the report, which begins with what the PSP did at ``since``, to its end."""
        # Before the report: the PSP had answered for what was booked by then, so it must be in it.
        until = await self._store.time()
        chunk: list[SettlementLine] = []
        async for line in report:
            chunk.append(line)
            if len(chunk) >= CHUNK_LINES:
                await self._take(chunk)
                chunk = []
        await self._take(chunk)
        await self._find_absent(since + CLOCK_SKEW_MAX, until)
        self._done.unknown_count = await self._store.count_unknown(self._psp)
        return self._done

    async def _take(self, lines: Sequence[SettlementLine]) -> None:
        done = self._done
        keys = [parse_psp_key(line.psp_key) for line in lines]
        asked = [
            (place, AttemptKey(self._partition_of(key), key.order_uuid, key.attempt_no))
            for place, key in enumerate(keys)
            if key is not None
        ]
        rows = await self._store.attempts([key for _, key in asked])
        found = {asked[position][0]: row for position, row in rows.items()}
        said: list[Saying] = []
        for place, line in enumerate(lines):
            attempt = found.get(place)
            finding, why = judge(line, keys[place], attempt)
            done.line_count += 1
            if attempt is not None:
                self._remember(attempt)
            if finding is Finding.BREAK:
                done.add_break(
                    Break(line.psp_key, line.reference, line.captured_minor, line.currency, why)
                )
                continue
            done.counts[finding] += 1
            if finding is Finding.RESOLVABLE and attempt is not None:
                said.append(_saying(line, attempt))
        await self._resolve(said)

    async def _resolve(self, said: Sequence[Saying]) -> None:
        text = f"the settlement report of {self._psp}"
        numbers = await self._store.give(said, actor=self._actor, text=text)
        self._done.refused_count += len(said) - len(numbers)
        if not numbers:
            return
        results = await decided(self._store, numbers, wait_s=self._wait_s)
        accepted = sum(one == EvidenceVerdict.ACCEPTED for one in results.values())
        self._done.resolved_count += accepted
        self._done.refused_count += len(results) - accepted
        self._done.undecided_count += len(numbers) - len(results)

    def _remember(self, found: AttemptFound) -> None:
        if self._reported is None:
            return
        self._reported.add(_number(found.partition_index, found.order_no, found.attempt_no))
        if len(self._reported) > LINES_REMEMBERED_MAX:
            self._reported = None

    async def _find_absent(self, since: datetime, until: datetime) -> None:
        """Find charges in the books, of orders taken in since then, that the report does not have."""
        reported = self._reported
        if reported is None or since >= until:
            return
        for index in range(self._partition_count):
            below = _ABOVE_ALL_ORDERS
            while True:
                orders = await self._store.booked(
                    self._psp, index, below=below, until=until, count_max=PAGE_ORDERS
                )
                for order in orders:
                    self._judge_booked(index, order, since, reported)
                if len(orders) < PAGE_ORDERS or orders[-1].taken_in_at < since:
                    break
                below = orders[-1].order_no
        self._done.absence_since, self._done.absence_until = since, until

    def _judge_booked(
        self, index: int, order: BookedOrder, since: datetime, reported: set[int]
    ) -> None:
        if not order.is_charged or order.attempt_no is None or order.taken_in_at < since:
            return
        if _number(index, order.order_no, order.attempt_no) in reported:
            return
        self._done.absent_count += 1
        self._done.add_break(
            Break(
                psp_key(order.order_uuid, order.attempt_no),
                order.psp_reference or "",
                order.captured_minor or 0,
                order.currency or "",
                ABSENT,
            )
        )

    def _partition_of(self, key: PspKey) -> int:
        return partition_index(key.order_uuid, self._partition_count)


async def decided(store: EvidenceStore, numbers: Sequence[int], *, wait_s: float) -> dict[int, int]:
    """Wait, for ``wait_s`` at most, until owners have decided; return the verdicts that there are."""
    loop = asyncio.get_running_loop()
    give_up_at_s = loop.time() + wait_s
    while True:
        results = await store.results(numbers)
        if len(results) == len(numbers) or loop.time() >= give_up_at_s:
            return {number: row.result for number, row in results.items()}
        await asyncio.sleep(_LOOK_S)


def _number(partition_index: int, order_no: int, attempt_no: int) -> int:
    """One number for an attempt: a set of them takes half the memory of a set of tuples."""
    return (order_no << 32) | (partition_index << 16) | attempt_no


def _saying(line: SettlementLine, found: AttemptFound) -> Saying:
    is_charged = line.captured_minor > 0
    return Saying(
        partition_index=found.partition_index,
        order_no=found.order_no,
        attempt_no=found.attempt_no,
        source=EvidenceSource.SETTLEMENT_REPORT,
        result=ResultClass.APPROVED if is_charged else ResultClass.DECLINED_FINAL,
        reference=line.reference,
        captured_minor=line.captured_minor,
        currency=line.currency if is_charged else None,
        effective_at=line.at,
    )


def key_of(found: AttemptFound) -> str:
    """The PSP key of an attempt, by which a person finds it at the PSP."""
    return psp_key(found.order_uuid, found.attempt_no)
