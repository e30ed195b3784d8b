"""Evidence in memory: what Postgres keeps of it, and of what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from payments.attempts import ResultClass
from payments.evidence import Evidence, EvidenceSource
from payments.rows import EvidenceResultRow
from storage.ports import Flush


@dataclass
class FakeEvidence:
    """Evidence is numbered from 1 in its order."""

    rows: list[Evidence] = field(default_factory=list)
    results: dict[int, EvidenceResultRow] = field(default_factory=dict)

    def give(
        self,
        key: tuple[int, int],
        *,
        attempt_no: int = 1,
        source: EvidenceSource = EvidenceSource.OPERATOR,
        result: ResultClass,
        reference: str | None = None,
        captured_minor: int = 0,
        currency: str | None = None,
    ) -> int:
        """Somebody says what became of an attempt of the order ``key``. Returns the evidence's number."""
        self.rows.append(
            Evidence(
                evidence_no=len(self.rows) + 1,
                partition_index=key[0],
                order_no=key[1],
                attempt_no=attempt_no,
                source=source,
                result=result,
                reference=reference,
                captured_minor=captured_minor,
                currency=currency,
                effective_at=None,
            )
        )
        return len(self.rows)

    def write(self, flush: Flush) -> None:
        """Keep the first result of each."""
        for result in flush.evidence_results:
            self.results.setdefault(result.evidence_no, result)

    def pending(self, partition_indexes: Sequence[int]) -> list[Evidence]:
        """Those without a result, oldest first."""
        return [
            row
            for row in self.rows
            if row.partition_index in partition_indexes and row.evidence_no not in self.results
        ]
