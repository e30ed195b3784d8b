"""One question about operations for each of their mutants."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from payments import chain
from payments.accounts import psp_receivable, wallet
from payments.decided import Decided
from payments.mode import Mode
from payments.operation_kinds import OperationKind
from payments.partitioning import partition_index
from payments.posting import Posting
from payments.rows import TransferKind
from payments.splits import Split, SplitStanding, refund_shares_minor
from payments.state import PartitionHead
from payments.transfers import Movement
from storage.envelope import queue_entry
from storage.operation_envelope import operation_entry
from tests.fakes.fake_host import PARTITION_COUNT, World
from tests.operated import an_operation
from tests.queue_commands import a_command
from tests.scenario import BookWorld, Deed, an_order


def refunds_in_flight_not_counted() -> object:
    """How many of two refunds of 600, under way together, are taken of a payment of 1,000."""
    world = BookWorld()
    payment = an_order(0, amount_minor=1_000)
    world.post(payment)
    world.carry_out(world.calls[-1], Deed.CHARGE)
    refunds = [an_operation(OperationKind.REFUND, payment, number, 600) for number in range(2)]
    return sum(row.is_open for row in world.take(operations=refunds).operations)


def operation_runs_again() -> object:
    """How many messages are left of a refund that comes again when its key record is gone."""

    async def ask() -> object:
        world = World()
        async with world.running(world.host()):
            payment = a_command(uuid4(), amount_minor=1_000)
            index = partition_index(payment.order_uuid, PARTITION_COUNT)
            await world.gateway.append([queue_entry(payment, index)])
            await world.until(lambda: world.status_of(payment.order_uuid) is not None)
            refund = operation_entry(an_operation(OperationKind.REFUND, payment, 1, 600), index)
            await world.gateway.append([refund])
            await world.until(lambda: len(world.books.outcomes) == 2)
            await world.until(lambda: not any(world.server.copy.streams.values()))
            world.server.copy.records.clear()
            await world.gateway.append([refund])
            await asyncio.sleep(0.6)
            return sum(map(len, world.server.copy.streams.values()))

    return asyncio.run(ask())


def release_leaves_it_pending() -> object:
    """What is pending on a receivable and a wallet after 500 were held and given back."""
    decided = Decided(partition_index=0, head_before=PartitionHead(0, 1, 0, 0, 0, chain.GENESIS))
    posting = Posting(decided, {}, 1)
    accounts = psp_receivable(1, Mode.TEST, "psp", "USD"), wallet(1, Mode.TEST, 1, "USD")
    posting.move(1, [Movement(1, TransferKind.AUTHORIZATION, *accounts, 500)])
    posting.move(2, [Movement(1, TransferKind.RELEASE, *accounts, 500)])
    posting.finish()
    return [row.debits_pending_minor + row.credits_pending_minor for row in decided.slices]


def first_sellers_pay() -> object:
    """What two sellers with 600 and 400 of a charge give back of a refund of 100."""
    parts = (Split(1, 600, 0), Split(2, 400, 0))
    return refund_shares_minor(
        [SplitStanding(part).captured(part.amount_minor) for part in parts], 100
    )
