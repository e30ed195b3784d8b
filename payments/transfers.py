"""Which money moves when: one pure function for each thing that can happen.

Accounts are named by key; the book turns keys into the partition's own account numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from payments.accounts import AccountKey, dispute_hold, fee_income, psp_receivable, wallet
from payments.commands import PaymentCommand
from payments.defects import InvariantViolation
from payments.disputes import Dispute, DisputeState
from payments.operation_kinds import OperationKind
from payments.operations import Operation
from payments.rows import TransferKind
from payments.splits import Split
from payments.standing import PaymentStanding


class Movement(NamedTuple):
    """One transfer before its accounts have numbers. ``step`` is unique within the order."""

    step: int
    kind: TransferKind
    debit: AccountKey
    credit: AccountKey
    amount_minor: int


class Effect(NamedTuple):
    """How often a transfer's amount counts on both of its slices."""

    posted: int
    pending: int


OF_HOLDS: Mapping[TransferKind, Effect] = {
    TransferKind.AUTHORIZATION: Effect(posted=0, pending=1),
    TransferKind.CAPTURE: Effect(posted=1, pending=-1),
    TransferKind.RELEASE: Effect(posted=0, pending=-1),
}
"""Two-phase transfers; every other kind is posted at once."""


def of_success(command: PaymentCommand, psp: str) -> list[Movement]:
    """A charge succeeded: the PSP owes us the gross, the seller has it, and pays our fee out of it.

    A zero fee moves nothing, so it makes no row.
    """
    if command.splits is not None:
        return _of_split_success(command, psp, command.splits)
    merchant_no, mode, currency = command.merchant_no, command.mode, command.currency
    seller_wallet = wallet(merchant_no, mode, command.seller_no, currency)
    movements = [
        Movement(
            step=1,
            kind=TransferKind.CHARGE,
            debit=psp_receivable(merchant_no, mode, psp, currency),
            credit=seller_wallet,
            amount_minor=command.amount_minor,
        )
    ]
    if command.fee_minor > 0:
        movements.append(
            Movement(
                step=2,
                kind=TransferKind.FEE,
                debit=seller_wallet,
                credit=fee_income(merchant_no, mode, currency),
                amount_minor=command.fee_minor,
            )
        )
    return movements


def _of_split_success(command: PaymentCommand, psp: str, splits: Sequence[Split]) -> list[Movement]:
    """Each seller has its part and pays our fee on it: steps 1 and 2 are the first's, 3 and 4 the next's."""
    merchant_no, mode, currency = command.merchant_no, command.mode, command.currency
    receivable = psp_receivable(merchant_no, mode, psp, currency)
    income = fee_income(merchant_no, mode, currency)
    movements: list[Movement] = []
    for step, split in zip(range(1, 2 * len(splits), 2), splits, strict=True):
        part = wallet(merchant_no, mode, split.seller_no, currency)
        movements.append(Movement(step, TransferKind.CHARGE, receivable, part, split.amount_minor))
        if split.fee_minor > 0:
            movements.append(Movement(step + 1, TransferKind.FEE, part, income, split.fee_minor))
    return movements


def of_authorization(command: PaymentCommand, psp: str) -> list[Movement]:
    """An authorization: the gross is pending between the PSP and the seller, and nobody's yet."""
    merchant_no, mode, currency = command.merchant_no, command.mode, command.currency
    return [
        Movement(
            step=1,
            kind=TransferKind.AUTHORIZATION,
            debit=psp_receivable(merchant_no, mode, psp, currency),
            credit=wallet(merchant_no, mode, command.seller_no, currency),
            amount_minor=command.amount_minor,
        )
    ]


def of_operation(operation: Operation, payment: PaymentStanding) -> list[Movement]:
    """What an operation that was done moves; ``payment`` is as it stood before.

    A capture posts what was pending, or a part of it, and takes its part of our fee. A refund takes the
    seller's money back to the PSP; our fee stays. What is left of a hold is released.
    """
    merchant_no, mode, currency = payment.merchant_no, payment.mode, payment.currency
    seller_wallet = wallet(merchant_no, mode, payment.seller_no, currency)
    receivable = psp_receivable(merchant_no, mode, operation.psp, currency)
    amount_minor = operation.amount_minor
    match operation.kind:
        case OperationKind.CAPTURE:
            movements = [Movement(1, TransferKind.CAPTURE, receivable, seller_wallet, amount_minor)]
            fee_minor = payment.fee_due_minor(amount_minor)
            if fee_minor > 0:
                income = fee_income(merchant_no, mode, currency)
                movements.append(Movement(2, TransferKind.FEE, seller_wallet, income, fee_minor))
            return movements
        case OperationKind.REFUND:
            return [Movement(1, TransferKind.REFUND, seller_wallet, receivable, amount_minor)]
        case OperationKind.VOID | OperationKind.EXPIRY:
            held_minor = payment.held_minor
            return [Movement(1, TransferKind.RELEASE, receivable, seller_wallet, held_minor)]


def of_dispute(dispute: Dispute, payment: PaymentStanding) -> list[Movement]:
    """What a dispute moves as it comes to stand so: into the hold, and from there back, or to the PSP."""
    merchant_no, mode, currency = payment.merchant_no, payment.mode, payment.currency
    seller_wallet = wallet(merchant_no, mode, payment.seller_no, currency)
    hold = dispute_hold(merchant_no, mode, currency)
    amount_minor = dispute.amount_minor
    match dispute.state:
        case DisputeState.OPENED:
            return [Movement(1, TransferKind.DISPUTE, seller_wallet, hold, amount_minor)]
        case DisputeState.WON:
            return [Movement(2, TransferKind.DISPUTE_WON, hold, seller_wallet, amount_minor)]
        case DisputeState.LOST:
            receivable = psp_receivable(merchant_no, mode, payment.psp or "", currency)
            return [Movement(2, TransferKind.DISPUTE_LOST, hold, receivable, amount_minor)]


def accounts_of_dispute(payment: PaymentStanding) -> set[AccountKey]:
    """Return every account that an event of a dispute may move money on."""
    merchant_no, mode, currency = payment.merchant_no, payment.mode, payment.currency
    return {
        wallet(merchant_no, mode, payment.seller_no, currency),
        dispute_hold(merchant_no, mode, currency),
        psp_receivable(merchant_no, mode, payment.psp or "", currency),
    }


def accounts_of(
    command: PaymentCommand | Operation, psp: str, payment: PaymentStanding | None
) -> set[AccountKey]:
    """Return every account that an approval may move money on. ``payment`` is an operation's."""
    if isinstance(command, PaymentCommand):
        of_order = of_authorization if command.captures_manually else of_success
        return {key for moved in of_order(command, psp) for key in (moved.debit, moved.credit)}
    if payment is None:
        raise InvariantViolation("an operation without its payment")
    merchant_no, mode, currency = payment.merchant_no, payment.mode, payment.currency
    return {
        wallet(merchant_no, mode, payment.seller_no, currency),
        psp_receivable(merchant_no, mode, psp, currency),
        fee_income(merchant_no, mode, currency),
    }
