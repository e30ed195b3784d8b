"""Finding one refund by its id: in the books, else in the queue, as a payment is found."""

from __future__ import annotations

from gateway.authentication import Merchant
from gateway.finding import Finding
from gateway.lookups import Lookups
from gateway.operation_rendering import accepted_operation_view
from gateway.problems import Problem, store_unavailable
from gateway.refusals import BOOKS_AWAY
from payments.commands import OperationCommand
from payments.identity import OperationKey
from payments.operation_answer import OperationView
from payments.operation_kinds import OperationKind
from runtime.faults import StorageUnavailable
from storage.lookup_keys import OperationLookup, OrderLookup
from storage.read_ports import StoredOperation
from storage.set_aside_orders import under_operation

_CANT_TELL = store_unavailable("Whether this refund exists can't be told now.", may_run=True)


class RefundFinding:
    """Reads single refunds, never from a replica."""

    def __init__(self, lookups: Lookups, finding: Finding) -> None:
        self._lookups = lookups
        self._finding = finding

    async def find(self, key: OperationKey, merchant: Merchant) -> OperationView | Problem | None:
        """Return the merchant's operation of that id, or why it can't be told; None where there is none."""
        place = OperationLookup(key.partition_index, key.operation_uuid)
        try:
            found = await self._lookups.find_operation(place)
            if found is None:
                return await self._find_in_queue(place, merchant)
        except StorageUnavailable:
            return BOOKS_AWAY
        return _shown(found, merchant)

    async def _find_in_queue(
        self, place: OperationLookup, merchant: Merchant
    ) -> OperationView | Problem | None:
        record = await self._finding.record(place)
        if record is None or isinstance(record, Problem):
            return record
        command = record.operation
        if command is None:
            # Taken in since we asked, most likely. Else it can't be decoded, and its owner will say so.
            found = await self._lookups.find_operation(place)
            return _CANT_TELL if found is None else _shown(found, merchant)
        if not _is_of(merchant, command):
            return None
        payment = await self._lookups.find(OrderLookup(place.partition_index, command.payment_uuid))
        if payment is None:
            return _CANT_TELL
        return accepted_operation_view(command, payment, record.accepted_at_ms)


def _shown(found: StoredOperation, merchant: Merchant) -> OperationView | None:
    if not _is_of(merchant, found):
        return None
    return under_operation(found, OperationKind.REFUND, None)


def _is_of(merchant: Merchant, operation: StoredOperation | OperationCommand) -> bool:
    return (operation.merchant_no, operation.mode) == (merchant.merchant_no, merchant.mode)
