"""The checks of one PSP's own record against the books."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp

from ops.verify import checks
from ops.verify.identities import charged_attempt, claimed_order, derived_partition
from ops.verify.oracle import OracleReader, OracleUnreadable, Tally, reading_s_max
from ops.verify.progress import VerifyProgress
from ops.verify.report import CheckResult, State
from ops.verify.results import result_of, unreadable, without_record
from psp.simulator.wire import OracleRow, Totals
from runtime.psp_config import PspConfig
from storage.uuids import DriverUuid
from storage.verifying import Examined, InFlight, Snapshot, Unreadable

# Charges sent to the server at a time: about 10 MB of our memory.
CHARGES_PER_COPY = 10_000

# The one kind of PSP that keeps a record which can be read whole.
KIND_WITH_RECORD = "simulator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One PSP's record: its totals before the snapshot, or why there are none."""

    psp: PspConfig
    before: Totals | None
    reason: str = ""


async def look_at(http: aiohttp.ClientSession, psp: PspConfig) -> Record:
    """Ask a PSP for its totals. To be done before the snapshot: what is counted here has its order in it."""
    if psp.kind != KIND_WITH_RECORD:
        return Record(psp=psp, before=None)
    try:
        return Record(psp=psp, before=await OracleReader(http, psp.url).totals())
    except OracleUnreadable as reason:
        return Record(psp=psp, before=None, reason=str(reason))


class OracleChecks:
    """Makes each check of ``checks.ORACLE`` for one PSP. First ``read``, then ``compare``."""

    def __init__(self, snapshot: Snapshot, progress: VerifyProgress, record: Record) -> None:
        self._snapshot = snapshot
        self._progress = progress
        self._record = record
        self._psp = record.psp.name
        self._read: CheckResult | None = None
        self.in_flight = InFlight()
        """Charges that are rightly not in the books of the snapshot."""

    async def read(self, http: aiohttp.ClientSession) -> None:
        """Bring the record into the snapshot's own session, to be joined there: all of it, or it is unreadable."""
        shown = self._shown(checks.ORACLE_READ)
        with self._progress.step(shown):
            if self._record.psp.kind != KIND_WITH_RECORD:
                self._read = without_record(shown)
            elif self._record.before is None:
                self._read = unreadable(shown, self._record.reason)
            else:
                self._read = await self._read_whole(http, shown, self._record.before)

    async def _read_whole(
        self, http: aiohttp.ClientSession, shown: str, before: Totals
    ) -> CheckResult:
        try:
            count = await self._copy(http, shown, before)
            examined = Examined(checked=count, violations=0, first=None)
            return result_of(shown, examined)
        except (OracleUnreadable, Unreadable) as reason:
            return unreadable(shown, str(reason))

    async def compare(self) -> list[CheckResult]:
        """Hold the record against the books, in both directions."""
        assert self._read is not None, "read comes first"
        results = [self._read]
        for name in checks.COMPARISONS:
            shown = self._shown(name)
            with self._progress.step(shown):
                if self._read.state is State.NO_RECORD:
                    results.append(without_record(shown))
                elif self._read.state is State.UNREADABLE or self._record.before is None:
                    results.append(unreadable(shown, f"the record of {self._psp} can't be read"))
                else:
                    results.append(await self._compare(name, self._record.before))
        return results

    async def _compare(self, name: str, before: Totals) -> CheckResult:
        shown = self._shown(name)
        try:
            if name == checks.CHARGES_BOOKED:
                examined, self.in_flight = await self._snapshot.examine_charges(
                    self._psp, before.charges, before.changes
                )
            else:
                examined = await self._snapshot.examine(name, self._psp)
            return result_of(shown, examined)
        except Unreadable as reason:
            return unreadable(shown, str(reason))

    async def _copy(self, http: aiohttp.ClientSession, shown: str, before: Totals) -> int:
        """Return how many charges were read. Raises OracleUnreadable and Unreadable."""
        reader, tally = OracleReader(http, self._record.psp.url), Tally()
        waiting: list[tuple[object, ...]] = []
        async for rows in reader.rows(seconds_max=reading_s_max(before.charges)):
            for row in rows:
                tally.add(row)
                waiting.append(self._charge(row))
            if len(waiting) >= CHARGES_PER_COPY:
                await self._snapshot.copy_charges(waiting)
                waiting = []
                self._progress.tell(shown, f"{tally.charges} of {before.charges}")
        if waiting:
            await self._snapshot.copy_charges(waiting)
        tally.check_between(before, await reader.totals())
        return tally.charges

    def _charge(self, row: OracleRow) -> tuple[object, ...]:
        """The row of ``oracle_charge``: what the PSP recorded, and which order it was for."""
        recorded = (
            self._psp,
            row.n,
            row.reference,
            row.status.value,
            row.amount,
            row.captured,
            row.refunded,
            row.charged_back,
            row.changed,
            row.currency,
        )
        attempt = charged_attempt(row.key, row.merchant, row.order_key)
        if attempt is None:
            claimed = claimed_order(row.merchant, row.order_key)
            return (*recorded, False, None, claimed, None, row.key, row.merchant, row.order_key)
        partition_index = derived_partition(attempt.order_uuid, self._snapshot.partition_count)
        identity = DriverUuid(attempt.order_uuid)
        return (*recorded, True, partition_index, identity, attempt.attempt_no, None, None, None)

    def _shown(self, name: str) -> str:
        return f"{name}:{self._psp}"
