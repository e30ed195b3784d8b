"""Disputes in memory, as gateways read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from payments.dispute_answer import parse_dispute_id
from payments.mode import Mode
from runtime.faults import StorageUnavailable
from storage.disputes import DisputeKey, DisputePage, StoredDispute
from storage.read_ports import CursorUnknown


class FakeDisputes:
    """``storage.disputes.DisputeQueries`` over a dictionary."""

    def __init__(self) -> None:
        self.is_available = True
        self._disputes: dict[DisputeKey, tuple[UUID, StoredDispute]] = {}

    def put(self, payment_uuid: UUID, dispute: StoredDispute) -> None:
        """Keep how a dispute stands; ``payment_uuid`` is its payment's identity."""
        key = parse_dispute_id(dispute.view.dispute_id)
        assert key is not None
        self._disputes[key] = (payment_uuid, dispute)

    async def disputes(self, keys: Sequence[DisputeKey]) -> Mapping[DisputeKey, StoredDispute]:
        self._check()
        return {key: self._disputes[key][1] for key in keys if key in self._disputes}

    async def list_disputes(
        self, merchant_no: int, mode: Mode, wanted: DisputePage
    ) -> tuple[Sequence[StoredDispute], bool]:
        self._check()
        mine = {
            key: (payment_uuid, each)
            for key, (payment_uuid, each) in self._disputes.items()
            if (each.merchant_no, each.mode) == (merchant_no, mode)
        }
        cursor = wanted.starting_after or wanted.ending_before
        if cursor is not None and cursor not in mine:
            raise CursorUnknown
        is_backwards = wanted.ending_before is not None

        def position(key: DisputeKey) -> tuple[datetime, int, int]:
            return mine[key][1].view.created_at, *key

        found = [
            mine[key][1]
            for key in sorted(mine, key=position, reverse=not is_backwards)
            if (wanted.state is None or mine[key][1].view.state is wanted.state)
            and (wanted.payment is None or wanted.payment == (key[0], mine[key][0]))
            and (
                cursor is None
                or (
                    position(key) > position(cursor)
                    if is_backwards
                    else position(key) < position(cursor)
                )
            )
        ]
        page = found[: wanted.count_max]
        return page[::-1] if is_backwards else page, len(found) > wanted.count_max

    def _check(self) -> None:
        if not self.is_available:
            raise StorageUnavailable("postgres", "the fake is switched off")
