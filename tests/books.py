"""A migrated shard for tests of the books, and the rows that small payments write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid5

from payments import chain
from payments.accounts import AccountKey, psp_receivable, wallet
from payments.commands import PaymentCommand
from payments.lifecycle import PaymentEvent, PaymentState
from payments.mode import Mode
from payments.partitioning import ShardRange
from payments.rows import (
    AccountRow,
    AttemptRow,
    EventRow,
    HeadRow,
    OrderRow,
    OutcomeRow,
    PersonalPart,
    PersonalRow,
    SliceDeltaRow,
    TransferKind,
    TransferRow,
)
from payments.state import PartitionHead
from storage.connections import Connector
from storage.deployments import Deployment, RolePasswords, create_deployment, create_roles
from storage.migrations import migrate, migrations_of_package
from storage.ports import Flush
from storage.sealing import encode_detail
from tests.servers import SharedServers

PASSWORDS = RolePasswords(gateway="gateway-test", owner="owner-test", reader="reader-test")
PARTITION_COUNT = 16
DEPLOYMENT = Deployment(
    deployment_id=UUID(int=1),
    partition_count=PARTITION_COUNT,
    shard=ShardRange(name="main", first_index=0, end_index=PARTITION_COUNT),
    envelope_version=1,
)
ACCEPTED_AT = datetime(2026, 11, 1, 12, 0, 0, 123_000, tzinfo=UTC)
_ORDERS = UUID(int=7)
_TEMPLATE = "installed_books"


async def install_books(superuser_dsn: str) -> None:
    """Make roles, schema and partitions in an empty database."""
    session = await Connector(superuser_dsn, application_name="tests").open()
    try:
        await create_roles(session, PASSWORDS)
        await migrate(session, migrations_of_package())
        await create_deployment(session, DEPLOYMENT)
    finally:
        await session.close()


async def copy_of_installed_books(servers: SharedServers, name: str) -> str:
    """Make the database ``name`` with books installed, and return its URL for the superuser.

    Installed once a session; a copy takes some tens of milliseconds.
    """
    known = servers.query(f"SELECT count(*) FROM pg_database WHERE datname = '{_TEMPLATE}'")
    if known.strip() == "0":
        await install_books(servers.create_database(_TEMPLATE))
    return servers.create_database(name, template=_TEMPLATE)


def command(order_uuid: UUID, *, amount_minor: int = 10_000) -> PaymentCommand:
    """Return a payment of merchant 1, seller 1, in EUR."""
    return PaymentCommand(
        order_uuid=order_uuid,
        idempotency_key=uuid5(order_uuid, "key"),
        merchant_no=1,
        merchant_id="mer_1",
        mode=Mode.TEST,
        seller_no=1,
        amount_minor=amount_minor,
        currency="EUR",
        fee_minor=0,
        payment_method="tok_ok",
        description="two shoes",
        buyer_json='{"name":"Ann"}',
        metadata_json='{"cart":"7"}',
        fingerprint=order_uuid.bytes * 3 + b"12345",
        accepted_at=ACCEPTED_AT,
        api_version="2026-11-01",
        reply_to="",
    )


@dataclass
class Writer:
    """Writes one partition's rows as its owner would. ``head`` moves on with every flush made."""

    head: PartitionHead
    account_nos: dict[AccountKey, int] = field(default_factory=dict)
    versions: dict[int, int] = field(default_factory=dict)
    commands: dict[int, PaymentCommand] = field(default_factory=dict)

    @property
    def index(self) -> int:
        return self.head.partition_index

    def order_uuid(self, order_no: int) -> UUID:
        return uuid5(_ORDERS, f"{self.index}/{order_no}")

    def take_in(self, count: int = 1, *, amount_minor: int = 10_000) -> Flush:
        """Return the intake of the next ``count`` orders, each with its first attempt."""
        flush = Flush()
        self._add_orders(flush, count, amount_minor)
        return self._finish(flush, order_count=count)

    def settle(self, order_nos: Sequence[int]) -> Flush:
        """Return the success of these orders at their first attempt: one transfer each, no fee."""
        flush = Flush()
        self._add_settled(flush, order_nos)
        return self._finish(flush)

    def take_in_and_settle(self, count: int, order_nos: Sequence[int]) -> Flush:
        """Return one flush with both."""
        flush = Flush()
        self._add_orders(flush, count, 10_000)
        self._add_settled(flush, order_nos)
        return self._finish(flush, order_count=count)

    def _add_orders(self, flush: Flush, count: int, amount_minor: int) -> None:
        first = self.head.order_no_last + 1
        for order_no in range(first, first + count):
            order = command(self.order_uuid(order_no), amount_minor=amount_minor)
            self.commands[order_no] = order
            self._add_order(flush, order_no, order)

    def _add_order(self, flush: Flush, order_no: int, order: PaymentCommand) -> None:
        key = (self.index, order_no)
        flush.orders.append(
            OrderRow(
                *key,
                order.order_uuid,
                order.idempotency_key,
                order.merchant_no,
                order.mode,
                order.seller_no,
                order.amount_minor,
                order.currency,
                order.fee_minor,
                order.fingerprint,
                order.metadata_json,
                order.api_version,
                order.accepted_at,
            )
        )
        detail = encode_detail(order, b'{"request":1}')
        flush.personal.append(PersonalRow(*key, PersonalPart.DETAIL, detail))
        flush.attempts.append(
            AttemptRow(*key, 1, "simulator", "acct_1", f"key-{order_no}", self.head.epoch)
        )
        flush.events.append(
            EventRow(
                *(*key, 1, self.head.batch_seq + 1, PaymentEvent.CREATED),
                *(order.merchant_no, order.mode),
            )
        )

    def _add_settled(self, flush: Flush, order_nos: Sequence[int]) -> None:
        batch_seq = self.head.batch_seq + 1
        debit = self._account(flush, psp_receivable(1, Mode.TEST, "simulator", "EUR"))
        credit = self._account(flush, wallet(1, Mode.TEST, 1, "EUR"))
        total_minor = 0
        for order_no in order_nos:
            key, amount_minor = (self.index, order_no), self.commands[order_no].amount_minor
            total_minor += amount_minor
            flush.outcomes.append(
                OutcomeRow(
                    *key,
                    batch_seq,
                    PaymentState.SUCCEEDED,
                    amount_minor,
                    0,
                    "EUR",
                    1,
                    "simulator",
                    f"ch_{order_no}",
                    None,
                    None,
                    None,
                    ACCEPTED_AT,
                    2,
                )
            )
            flush.transfers.append(
                TransferRow(
                    *key, 1, batch_seq, TransferKind.CHARGE, debit, credit, amount_minor, "EUR"
                )
            )
            order = self.commands[order_no]
            flush.events.append(
                EventRow(
                    *(*key, 2, batch_seq, PaymentEvent.SUCCEEDED),
                    *(order.merchant_no, order.mode),
                )
            )
        count = len(order_nos)
        flush.slices.append(
            SliceDeltaRow(self.index, debit, self.versions[debit], count, total_minor, 0)
        )
        flush.slices.append(
            SliceDeltaRow(self.index, credit, self.versions[credit], count, 0, total_minor)
        )
        self.versions[debit] += count
        self.versions[credit] += count

    def _account(self, flush: Flush, key: AccountKey) -> int:
        if key not in self.account_nos:
            account_no = len(self.account_nos) + 1
            self.account_nos[key] = account_no
            self.versions[account_no] = 0
            flush.accounts.append(AccountRow(self.index, account_no, *key))
        return self.account_nos[key]

    def _finish(self, flush: Flush, *, order_count: int = 0) -> Flush:
        before = self.head
        chain_hash = before.chain_hash
        if flush.outcomes or flush.transfers:
            chain_hash = chain.extend(
                chain_hash, self.index, before.batch_seq + 1, flush.outcomes, flush.transfers
            )
        self.head = PartitionHead(
            partition_index=self.index,
            epoch=before.epoch,
            batch_seq=before.batch_seq + 1,
            order_no_last=before.order_no_last + order_count,
            account_no_last=len(self.account_nos),
            chain_hash=chain_hash,
        )
        flush.heads.append(
            HeadRow(
                self.index,
                before.epoch,
                before.batch_seq,
                self.head.order_no_last,
                self.head.account_no_last,
                chain_hash,
                len(flush.outcomes),
                len(flush.transfers),
            )
        )
        return flush


def together(*flushes: Flush) -> Flush:
    """Return one flush that writes the rows of all: several partitions in one transaction."""
    whole = Flush()
    for flush in flushes:
        for name in Flush.__slots__:
            getattr(whole, name).extend(getattr(flush, name))
    return whole
