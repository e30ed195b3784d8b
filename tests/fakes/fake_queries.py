"""In-memory fakes of the read side and the directory, filled directly with records.

Both pass the contract suites that Postgres passes (tests/contract/test_queries_contract.py,
test_directory_contract.py). ``is_available = False`` makes every method raise StorageUnavailable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from payments.defects import InvariantViolation
from payments.fees import FeeSchedule
from payments.mode import Mode
from payments.operation_kinds import OperationKind
from runtime.faults import StorageUnavailable
from storage.read_ports import (
    ApiKeyRecord,
    Balance,
    CursorUnknown,
    MerchantExists,
    MerchantRecord,
    Page,
    PaymentFilter,
    SellerExists,
    SellerKey,
    SellerRecord,
    StoredOperation,
    StoredOrder,
    TransferRecord,
    WalletRecord,
)

# What a test that doesn't care about time reads everywhere.
FAKE_NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def check_available(is_available: bool) -> None:
    if not is_available:
        raise StorageUnavailable("postgres", "the fake is switched off")


def _position(order: StoredOrder) -> tuple[datetime, int, int]:
    return order.view.created_at, order.order_no, order.partition_index


class FakeQueries:
    """PaymentQueries over dictionaries."""

    def __init__(self, orders: Sequence[StoredOrder] = (), *, now: datetime = FAKE_NOW) -> None:
        self.is_available = True
        self.now = now
        self.orders_asked: list[tuple[tuple[int, UUID], ...]] = []
        """The keys of every call of ``orders``, in order."""
        self._orders: dict[tuple[int, UUID], StoredOrder] = {}
        self._transfers: dict[tuple[int, UUID], tuple[TransferRecord, ...]] = {}
        self._operations: dict[tuple[int, UUID], StoredOperation] = {}
        self._payments_of: dict[UUID, UUID] = {}
        self._balances: dict[tuple[int, Mode, int], tuple[Balance, ...]] = {}
        for order in orders:
            self.put(order)

    def put(self, order: StoredOrder, transfers: Sequence[TransferRecord] = ()) -> None:
        """Add an order or replace it as it stands now, with the transfers it has made."""
        key = (order.partition_index, order.order_uuid)
        self._orders[key] = order
        self._transfers[key] = tuple(transfers)

    def put_wallet(
        self, merchant_no: int, mode: Mode, seller_no: int, balances: Sequence[Balance]
    ) -> None:
        """Set a wallet's balances."""
        ordered = sorted(balances, key=lambda balance: balance.currency)
        self._balances[merchant_no, mode, seller_no] = tuple(ordered)

    async def known_orders(self, keys: Sequence[tuple[int, UUID]]) -> Set[UUID]:
        self.orders_asked.append(tuple(keys))
        check_available(self.is_available)
        return {key[1] for key in keys if key in self._orders}

    async def orders(self, keys: Sequence[tuple[int, UUID]]) -> Mapping[UUID, StoredOrder]:
        self.orders_asked.append(tuple(keys))
        check_available(self.is_available)
        return {key[1]: self._orders[key] for key in keys if key in self._orders}

    async def list_payments(self, merchant_no: int, mode: Mode, wanted: PaymentFilter) -> Page:
        check_available(self.is_available)
        mine = [
            order
            for order in self._orders.values()
            if (order.merchant_no, order.mode) == (merchant_no, mode) and not order.is_set_aside
        ]
        cursor = wanted.starting_after or wanted.ending_before
        edge = next((_position(order) for order in mine if order.order_uuid == cursor), None)
        if cursor is not None and edge is None:
            raise CursorUnknown
        is_backwards = wanted.ending_before is not None
        found = [
            order
            for order in sorted(mine, key=_position, reverse=not is_backwards)
            if _is_wanted(order, wanted)
            and (
                edge is None
                or (_position(order) > edge if is_backwards else _position(order) < edge)
            )
        ]
        page = found[: wanted.count_max]
        return Page(
            orders=page[::-1] if is_backwards else page, has_more=len(found) > wanted.count_max
        )

    async def transfers(self, partition_index: int, order_uuid: UUID) -> Sequence[TransferRecord]:
        check_available(self.is_available)
        return self._transfers.get((partition_index, order_uuid), ())

    def put_operation(self, operation: StoredOperation, payment_uuid: UUID) -> None:
        """Add an operation or replace it as it stands now."""
        self._operations[operation.partition_index, operation.order_uuid] = operation
        self._payments_of[operation.order_uuid] = payment_uuid

    async def operations(self, keys: Sequence[tuple[int, UUID]]) -> Mapping[UUID, StoredOperation]:
        check_available(self.is_available)
        return {key[1]: self._operations[key] for key in keys if key in self._operations}

    async def operations_of(
        self,
        partition_index: int,
        order_uuid: UUID,
        kind: OperationKind,
        *,
        starting_after: UUID | None,
        count_max: int,
    ) -> tuple[Sequence[StoredOperation], bool]:
        check_available(self.is_available)
        edge = self._operations.get((partition_index, starting_after)) if starting_after else None
        found = sorted(
            (
                operation
                for operation in self._operations.values()
                if operation.partition_index == partition_index
                and self._payments_of[operation.order_uuid] == order_uuid
                and operation.view.kind is kind
                and (starting_after is None or (edge and operation.order_no < edge.order_no))
            ),
            key=lambda operation: -operation.order_no,
        )
        return found[:count_max], len(found) > count_max

    async def wallet(self, merchant_no: int, mode: Mode, seller_no: int) -> WalletRecord:
        check_available(self.is_available)
        balances = self._balances.get((merchant_no, mode, seller_no), ())
        return WalletRecord(balances=balances, as_of=self.now)


def _is_wanted(order: StoredOrder, wanted: PaymentFilter) -> bool:
    view = order.view
    metadata = json.loads(view.metadata_json or "{}")
    return (
        (wanted.status is None or view.status == wanted.status)
        and (wanted.currency is None or view.currency == wanted.currency)
        and (wanted.created_gte is None or view.created_at >= wanted.created_gte)
        and (wanted.created_lt is None or view.created_at < wanted.created_lt)
        and (wanted.amount_gte_minor is None or (view.amount_minor or 0) >= wanted.amount_gte_minor)
        and (wanted.amount_lte_minor is None or (view.amount_minor or 0) <= wanted.amount_lte_minor)
        and (wanted.metadata or {}).items() <= metadata.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeAudit:
    """One audit row, as far as tests look at it."""

    actor: str
    action: str
    subject: str


@dataclass(slots=True)
class _MerchantBooks:
    record: MerchantRecord
    sellers: dict[tuple[Mode, str], SellerRecord] = field(default_factory=dict)


class FakeDirectory:
    """Directory over dictionaries. Numbers are given from 1 in the order of creation."""

    def __init__(self, *, now: datetime = FAKE_NOW) -> None:
        self.is_available = True
        self.now = now
        self.audits: list[FakeAudit] = []
        self._merchants: dict[int, _MerchantBooks] = {}
        self._api_keys: dict[str, ApiKeyRecord] = {}
        self._seller_no_last = 0

    def put_merchant(
        self, merchant_id: str, *, name: str = "a merchant", fee: FeeSchedule
    ) -> MerchantRecord:
        """Add a merchant with its own seller in both modes."""
        if any(books.record.merchant_id == merchant_id for books in self._merchants.values()):
            raise MerchantExists
        record = MerchantRecord(
            merchant_no=len(self._merchants) + 1,
            merchant_id=merchant_id,
            name=name,
            created_at=self.now,
        )
        self._merchants[record.merchant_no] = _MerchantBooks(record)
        for mode in Mode:
            self.put_seller(record.merchant_no, mode, merchant_id, name=name, fee=fee)
        return record

    def put_seller(
        self,
        merchant_no: int,
        mode: Mode,
        seller_id: str,
        *,
        name: str = "a seller",
        fee: FeeSchedule,
    ) -> SellerRecord:
        """Add a seller of an existing merchant."""
        sellers = self._merchants[merchant_no].sellers
        if (mode, seller_id) in sellers:
            raise SellerExists
        self._seller_no_last += 1
        record = SellerRecord(
            seller_no=self._seller_no_last,
            seller_id=seller_id,
            name=name,
            fee=fee,
            created_at=self.now,
        )
        sellers[mode, seller_id] = record
        return record

    def put_api_key(self, record: ApiKeyRecord) -> None:
        """Add a key, or replace it, revoked for instance."""
        self._api_keys[record.key_id] = record

    async def api_key(self, key_id: str) -> ApiKeyRecord | None:
        check_available(self.is_available)
        return self._api_keys.get(key_id)

    async def sellers_named(self, keys: Sequence[SellerKey]) -> Mapping[SellerKey, SellerRecord]:
        check_available(self.is_available)
        found: dict[SellerKey, SellerRecord] = {}
        for merchant_no, mode, seller_id in keys:
            books = self._merchants.get(merchant_no)
            if books is not None and (mode, seller_id) in books.sellers:
                found[merchant_no, mode, seller_id] = books.sellers[mode, seller_id]
        return found

    async def sellers(
        self, merchant_no: int, mode: Mode, *, starting_after: str | None, count_max: int
    ) -> tuple[Sequence[SellerRecord], bool]:
        check_available(self.is_available)
        books = self._merchants.get(merchant_no)
        everybody = {} if books is None else books.sellers
        found = [
            everybody[key]
            for key in sorted(everybody)
            if key[0] is mode and key[1] > (starting_after or "")
        ]
        return found[:count_max], len(found) > count_max

    async def create_seller(
        self, merchant_no: int, mode: Mode, seller_id: str, name: str, fee: FeeSchedule
    ) -> SellerRecord:
        check_available(self.is_available)
        return self.put_seller(merchant_no, mode, seller_id, name=name, fee=fee)

    async def create_merchant(
        self, *, merchant_id: str, name: str, fee: FeeSchedule, actor: str
    ) -> MerchantRecord:
        check_available(self.is_available)
        record = self.put_merchant(merchant_id, name=name, fee=fee)
        self.audits.append(FakeAudit(actor=actor, action="merchant.create", subject=merchant_id))
        return record

    async def store_api_key(self, record: ApiKeyRecord, *, actor: str) -> None:
        check_available(self.is_available)
        if record.key_id in self._api_keys:
            raise InvariantViolation(f"key id {record.key_id} is taken")
        self.put_api_key(record)
        self.audits.append(FakeAudit(actor=actor, action="api_key.create", subject=record.key_id))
