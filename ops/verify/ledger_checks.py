"""The checks of the books alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ops.verify import checks
from ops.verify.identities import derived_partition, derived_uuid
from ops.verify.progress import VerifyProgress
from ops.verify.report import CheckResult
from ops.verify.results import result_of, unreadable
from storage.verifying import Examined, Plain, Snapshot, Unreadable


class LedgerChecks:
    """Makes each check of ``checks.LEDGER`` on one snapshot."""

    def __init__(
        self, snapshot: Snapshot, progress: VerifyProgress, *, psp_names: Sequence[str]
    ) -> None:
        self._snapshot = snapshot
        self._progress = progress
        self._psp_names = psp_names

    async def run(self, names: Iterable[str]) -> list[CheckResult]:
        """Make these, in this order. One that can't be made does not keep the others from it."""
        results: list[CheckResult] = []
        for name in names:
            with self._progress.step(name):
                results.append(await self._result(name))
        return results

    async def _result(self, name: str) -> CheckResult:
        try:
            return result_of(name, await self._examined(name))
        except Unreadable as reason:
            return unreadable(name, str(reason))

    async def _examined(self, name: str) -> Examined:
        if name in checks.OF_SUMS:
            await self._snapshot.recompute_accounts()
        if name == checks.IDENTITIES:
            return await self._identities()
        if name == checks.ATTEMPTS:
            return await self._snapshot.examine(name, self._psp_names)
        return await self._snapshot.examine(name)

    async def _identities(self) -> Examined:
        """The one check whose rows pass through here: the server has no SHA-1."""
        checked = violations = 0
        first: dict[str, Plain] | None = None
        async for orders in self._snapshot.identities():
            self._progress.tell(checks.IDENTITIES, f"{checked}")
            checked += len(orders)
            for partition_index, order_no, order_uuid, name, payment_uuid in orders:
                finding = self._identity_finding(partition_index, order_uuid, name, payment_uuid)
                if finding is not None:
                    violations += 1
                    first = first or {
                        "partition_index": partition_index,
                        "order_no": order_no,
                        "finding": finding,
                    }
        return Examined(checked=checked, violations=violations, first=first)

    def _identity_finding(
        self, partition_index: int, order_uuid: bytes, name: str, payment_uuid: bytes | None
    ) -> str | None:
        is_operation = payment_uuid is not None
        if derived_uuid(name, is_operation=is_operation) != order_uuid:
            return f"its order_uuid does not derive from {name}"
        home = order_uuid if payment_uuid is None else payment_uuid
        if derived_partition(home, self._snapshot.partition_count) != partition_index:
            return "its order_uuid belongs to another partition"
        return None
