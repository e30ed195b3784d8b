"""One question about operations for each of their mutants."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import uuid4

from payments import chain
from payments.accounts import psp_receivable, wallet
from payments.attempts import PspAnswer, ResultClass
from payments.decided import Decided
from payments.identity import psp_key
from payments.mode import Mode
from payments.operation_kinds import OperationKind
from payments.posting import Posting
from payments.rows import TransferKind
from payments.state import PartitionHead
from payments.transfers import Movement
from psp.http_simulator import SimulatorPsp
from tests.operated import an_operation
from tests.scenario import BookWorld, Deed, an_order

_ORDER = uuid4()


def refunds_in_flight_not_counted() -> object:
    """How many of two refunds of 600, under way together, are taken of a payment of 1,000."""
    world = BookWorld()
    payment = an_order(0, amount_minor=1_000)
    world.post(payment)
    world.carry_out(world.calls[-1], Deed.CHARGE)
    refunds = [an_operation(OperationKind.REFUND, payment, number, 600) for number in range(2)]
    return sum(row.is_open for row in world.take(operations=refunds).operations)


def refund_again_under_a_new_key() -> object:
    """How many keys a refund and a charge are sent under whose first answers never come."""
    psp = SimulatorPsp(name="psp", account="main", url="http://127.0.0.1:1")
    keys: list[str] = []

    async def silence(
        _method: str, _path: str, *, headers: Mapping[str, str], **_rest: object
    ) -> PspAnswer:
        keys.append(headers["Idempotency-Key"])
        return PspAnswer(result=ResultClass.UNKNOWN)

    vars(vars(psp)["_http"])["request"] = silence

    async def ask() -> list[int]:
        await psp.refund(psp_key(_ORDER, 1), "ch_a", 100, timeout_s=1.0)
        refund_keys = len(set(keys))
        keys.clear()
        await psp.charge(psp_key(_ORDER, 1), b"{}", timeout_s=1.0)
        return [refund_keys, len(set(keys))]

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
