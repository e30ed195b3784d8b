"""The read side and the directory: what gateways and the command line ask Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple, Protocol
from uuid import UUID

from payments.answer import OrderView
from payments.defects import InvariantViolation
from payments.fees import FeeSchedule
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.operation_answer import OperationView
from payments.operation_kinds import OperationKind

# A page is held in memory by the gateway and by its reader: 100 orders are about 80 KiB of JSON.
PAGE_COUNT_MAX = 100


class KeyRole(IntEnum):
    """Whose an API key is. Stored; never renumber."""

    MERCHANT = 1
    OPERATOR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRecord:
    """An API key as stored: the secret itself is known to its holder alone."""

    key_id: str
    secret_hmac: bytes
    role: KeyRole
    merchant_no: int | None
    merchant_id: str | None
    mode: Mode
    is_revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerRecord:
    """Whose wallet is credited, and what we charge for it."""

    seller_no: int
    seller_id: str
    name: str
    fee: FeeSchedule
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MerchantRecord:
    """Who sells through us; ``merchant_no`` stands for it in the books."""

    merchant_no: int
    merchant_id: str
    name: str
    created_at: datetime


class StoredOrder(NamedTuple):
    """An order in the books. ``is_frozen`` tells that its POST answer can't change any more."""

    order_uuid: UUID
    partition_index: int
    order_no: int
    merchant_no: int
    mode: Mode
    fingerprint: bytes
    view: OrderView
    is_frozen: bool
    is_set_aside: bool = False
    """Its message is a dead letter. ``order_no`` is 0; the fingerprint has no bytes where it is
    unknown; the key in ``view`` is not the order's, but stands for whatever led to it."""
    present: OrderView | None = None
    """How it stands now, where that differs from the answer that froze: it was captured, refunded, ..."""

    operation_count: int = 0
    """Captures, voids and refunds that were ever taken in for it."""

    @property
    def shown(self) -> OrderView:
        """How it stands now."""
        return self.view if self.present is None else self.present


class StoredOperation(NamedTuple):
    """An operation in the books, with the same names as an order where look-ups treat both alike."""

    order_uuid: UUID
    """Its operation_uuid."""
    partition_index: int
    order_no: int
    merchant_no: int
    mode: Mode
    fingerprint: bytes
    view: OperationView
    is_frozen: bool
    is_set_aside: bool = False
    """Its message is a dead letter, which tells neither its kind nor its payment: those in ``view`` stand for
    whatever led to it. ``order_no`` is 0; the fingerprint has no bytes where it is unknown."""


Stored = StoredOrder | StoredOperation
"""What the books hold under one identity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRecord:
    """One transfer for the API, accounts by readable name such as ``wallet:slr_shoes``.

    Ids by payments.identity; ``kind`` is a TransferKind in lower case.
    """

    transfer_id: str
    kind: str
    debit_account: str
    credit_account: str
    amount_minor: int
    currency: str
    created_at: datetime
    batch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """A wallet in one currency: the sum of its slices in one snapshot, in minor units.

    A wallet is what we owe its holder, so credits raise it; refunds can make it negative.
    """

    currency: str
    posted_minor: int
    """Credits less debits that are settled in the books."""
    pending_minor: int
    """What ``posted_minor`` changes by once every hold is captured: pending credits less debits."""
    available_minor: int
    """What can be spent now: ``posted_minor`` less pending debits; pending credits don't count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletRecord:
    """``balances`` by currency, none for one that never moved; ``as_of`` by the books' clock."""

    balances: Sequence[Balance]
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFilter:
    """Which payments a list shows; None means no limit.

    Raises InvariantViolation for two cursors, a page beyond 1..PAGE_COUNT_MAX, or a status that is
    no wire name of PaymentState: the gateway refuses these before.
    """

    status: str | None = None
    currency: str | None = None
    created_gte: datetime | None = None
    created_lt: datetime | None = None
    amount_gte_minor: int | None = None
    amount_lte_minor: int | None = None
    metadata: Mapping[str, str] | None = None
    """Each of these keys with this value; further keys may be there."""
    starting_after: UUID | None = None
    """order_uuid of the last one seen: the page goes on with older ones."""
    ending_before: UUID | None = None
    """order_uuid of the first one seen: the page holds the newer ones nearest to it."""
    count_max: int = 10

    def __post_init__(self) -> None:
        if self.starting_after is not None and self.ending_before is not None:
            raise InvariantViolation("a list has one cursor at most")
        if not 1 <= self.count_max <= PAGE_COUNT_MAX:
            raise InvariantViolation(f"count_max={self.count_max} is outside 1..{PAGE_COUNT_MAX}")
        if self.status is not None and PaymentState.from_wire(self.status) is None:
            raise InvariantViolation(f"status={self.status!r} is no state")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page, newest first. ``has_more`` looks in the direction of the cursor."""

    orders: Sequence[StoredOrder]
    has_more: bool


class CursorUnknown(Exception):
    """A list's cursor names no payment of this merchant and mode."""


class SellerExists(Exception):
    """Another seller of this merchant and mode has that id already."""


class MerchantExists(Exception):
    """Another merchant has that id already."""


SellerKey = tuple[int, Mode, str]
"""(merchant_no, mode, seller_id)."""


class PaymentQueries(Protocol):
    """Reads from the primary. Every method raises StorageUnavailable when it can't be read."""

    async def known_orders(self, keys: Sequence[tuple[int, UUID]]) -> Set[UUID]:
        """Return the order_uuids of those ``(partition_index, order_uuid)`` for which ``orders`` has something to tell.

        For keys of which hardly any is known: ``orders`` costs the server a multiple of it, however little it finds.
        """
        ...

    async def orders(self, keys: Sequence[tuple[int, UUID]]) -> Mapping[UUID, StoredOrder]:
        """Return by order_uuid those of ``(partition_index, order_uuid)`` that are in the books.

        One round trip, one snapshot; a key may be named twice.
        """
        ...

    async def list_payments(self, merchant_no: int, mode: Mode, wanted: PaymentFilter) -> Page:
        """Return one page, newest first. Raises CursorUnknown."""
        ...

    async def transfers(self, partition_index: int, order_uuid: UUID) -> Sequence[TransferRecord]:
        """Return those of an order and of the operations on it, in their order."""
        ...

    async def operations(self, keys: Sequence[tuple[int, UUID]]) -> Mapping[UUID, StoredOperation]:
        """Return by operation_uuid those of ``(partition_index, operation_uuid)`` that are in the books."""
        ...

    async def operations_of(
        self,
        partition_index: int,
        order_uuid: UUID,
        kind: OperationKind,
        *,
        starting_after: UUID | None,
        count_max: int,
    ) -> tuple[Sequence[StoredOperation], bool]:
        """Return one page of a payment's operations, newest first, and whether there are more.

        ``starting_after`` is the operation_uuid of the last one seen; none follow an unknown one.
        """
        ...

    async def wallet(self, merchant_no: int, mode: Mode, seller_no: int) -> WalletRecord: ...


class Directory(Protocol):
    """Merchants, sellers and API keys. Every method raises StorageUnavailable."""

    async def api_key(self, key_id: str) -> ApiKeyRecord | None:
        """Return the key, also a revoked one, or None."""
        ...

    async def sellers_named(self, keys: Sequence[SellerKey]) -> Mapping[SellerKey, SellerRecord]:
        """Return those that exist, in one round trip; a merchant's own goes by its merchant id.

        A key may be named twice.
        """
        ...

    async def sellers(
        self, merchant_no: int, mode: Mode, *, starting_after: str | None, count_max: int
    ) -> tuple[Sequence[SellerRecord], bool]:
        """Return one page ordered by seller_id, and whether there are more.

        ``starting_after`` is a seller_id; one that doesn't exist begins where it would stand.
        """
        ...

    async def create_seller(
        self, merchant_no: int, mode: Mode, seller_id: str, name: str, fee: FeeSchedule
    ) -> SellerRecord:
        """Raises SellerExists."""
        ...

    async def create_merchant(
        self, *, merchant_id: str, name: str, fee: FeeSchedule, actor: str
    ) -> MerchantRecord:
        """Create a merchant, its own seller in both modes, and the audit row, in one transaction.

        Raises MerchantExists.
        """
        ...

    async def store_api_key(self, record: ApiKeyRecord, *, actor: str) -> None:
        """Store a new key (storage.api_keys.issue_api_key) with an audit row, in one transaction.

        A key id that is taken is a defect: 60 random bits don't repeat by chance.
        """
        ...
