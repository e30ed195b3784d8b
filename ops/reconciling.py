"""A PSP's settlement report against the books: resolves what is unknown, and lists what contradicts.

The report is read line by line, the books in chunks of it; only counts and a bounded list of breaks are
kept. Nothing but evidence is written, and only of orders whose outcome is unknown.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from payments.attempts import ResultClass
from payments.evidence import EvidenceSource
from payments.identity import PspKey, parse_psp_key, psp_key
from payments.lifecycle import PaymentState
from payments.partitioning import partition_index
from payments.rows import EvidenceVerdict
from psp.port import SettlementLine
from storage.evidence import AttemptFound, AttemptKey, EvidenceStore, Saying

# A chunk is one statement of a few milliseconds, and about half a megabyte here.
CHUNK_LINES = 500
# More breaks than a person reads are counted, not listed.
BREAKS_LISTED_MAX = 1_000
# The statuses by which a PSP says that a charge was refused for good and moved nothing.
REFUSED_STATUSES = frozenset({"declined", "canceled"})

_LOOK_S = 0.2


class Finding(Enum):
    """What one line of the report is to the books. The values are shown to people."""

    MATCHED = "matched"
    RESOLVABLE = "resolvable"
    """Its order waits for exactly this."""
    UNDER_WAY = "under way"
    """Its order is open and its outcome not unknown: the owner is about to hear of it."""
    FOREIGN = "not ours"
    """No key of ours; it moved money for somebody else."""
    BREAK = "break"


class Break(NamedTuple):
    """A line that the books contradict."""

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
    is_succeeded = found.ended_status == PaymentState.SUCCEEDED
    is_ending = found.ended_attempt_no == found.attempt_no
    if not is_charged:
        return _break_if(
            is_succeeded and is_ending, "the books say that it was charged, the PSP that it was not"
        )
    if not is_succeeded:
        status = PaymentState(found.ended_status or 0).wire
        return Finding.BREAK, f"charged at the PSP, and {status} in the books"
    if not is_ending:
        return Finding.BREAK, f"the order was charged by its attempt {found.ended_attempt_no}"
    is_same = (found.amount_captured_minor, found.ended_currency) == (
        line.captured_minor,
        line.currency,
    )
    return _break_if(
        not is_same, f"the books say {found.amount_captured_minor} {found.ended_currency}"
    )


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

    async def run(self, report: AsyncIterator[SettlementLine]) -> Reconciliation:
        """Read the report to its end."""
        chunk: list[SettlementLine] = []
        async for line in report:
            chunk.append(line)
            if len(chunk) >= CHUNK_LINES:
                await self._take(chunk)
                chunk = []
        await self._take(chunk)
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
            done.counts[finding] += 1
            if finding is Finding.RESOLVABLE and attempt is not None:
                said.append(_saying(line, attempt))
            elif finding is Finding.BREAK and len(done.breaks) < BREAKS_LISTED_MAX:
                done.breaks.append(
                    Break(line.psp_key, line.reference, line.captured_minor, line.currency, why)
                )
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
