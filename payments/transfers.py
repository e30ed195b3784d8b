"""Which money moves when: one pure function for each thing that can happen.

Accounts are named by key; the book turns keys into the partition's own account numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from payments.accounts import (
    AccountKey,
    charge_accounts,
    dispute_hold,
    fee_income,
    psp_receivable,
    wallet,
)
from payments.commands import PaymentCommand
from payments.defects import InvariantViolation
from payments.disputes import Dispute, DisputeState
from payments.operation_kinds import OperationKind
from payments.operations import Operation
from payments.rows import TransferKind
from payments.splits import Split, after_capture, capture_shares_minor, refund_shares_minor
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

# Of each payment: an Enum looks its members up by code of its own, four times as slow as a name of the module.
_CHARGE, _FEE = TransferKind.CHARGE, TransferKind.FEE


def of_success(command: PaymentCommand, psp: str) -> list[Movement]:
    """A charge succeeded: the PSP owes us the gross, the seller has it, and pays our fee out of it.

    A zero fee moves nothing, so it makes no row.
    """
    if command.splits is not None:
        return _of_split_success(command, psp, command.splits)
    receivable, seller_wallet, income = charge_accounts(
        command.merchant_no, command.mode, psp, command.seller_no, command.currency
    )
    charged = Movement.__new__(
        Movement,
        step=1,
        kind=_CHARGE,
        debit=receivable,
        credit=seller_wallet,
        amount_minor=command.amount_minor,
    )
    if command.fee_minor <= 0:
        return [charged]
    fee = Movement.__new__(
        Movement,
        step=2,
        kind=_FEE,
        debit=seller_wallet,
        credit=income,
        amount_minor=command.fee_minor,
    )
    return [charged, fee]


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
    """An authorization: the gross is pending between the PSP and its sellers, and nobody's yet."""
    merchant_no, mode, currency = command.merchant_no, command.mode, command.currency
    receivable = psp_receivable(merchant_no, mode, psp, currency)
    parts = [(split.seller_no, split.amount_minor) for split in command.splits or ()]
    return [
        Movement(
            step=step,
            kind=TransferKind.AUTHORIZATION,
            debit=receivable,
            credit=wallet(merchant_no, mode, seller_no, currency),
            amount_minor=amount_minor,
        )
        for step, (seller_no, amount_minor) in enumerate(
            parts or [(command.seller_no, command.amount_minor)], 1
        )
    ]


def of_operation(operation: Operation, payment: PaymentStanding) -> list[Movement]:
    """What an operation that was done moves; ``payment`` is as it stood before.

    A capture posts what was pending, or a part of it, and takes its part of our fee. A refund takes the
    seller's money back to the PSP; our fee stays. What is left of a hold is released. Each seller of a
    payment with splits has its share of that; a share of nothing makes no row.
    """
    receivable = psp_receivable(payment.merchant_no, payment.mode, operation.psp, payment.currency)
    amount_minor = operation.amount_minor
    wallets = _wallets(payment)
    match operation.kind:
        case OperationKind.CAPTURE:
            return _of_capture(amount_minor, payment, receivable)
        case OperationKind.REFUND:
            shares = refund_shares_minor(payment.splits, amount_minor) if payment.splits else None
            return [
                Movement(step, TransferKind.REFUND, part, receivable, share)
                for step, part, share in _numbered(wallets, shares or [amount_minor])
            ]
        case OperationKind.VOID | OperationKind.EXPIRY:
            held = [each.held_minor for each in payment.splits] or [payment.held_minor]
            return [
                Movement(step, TransferKind.RELEASE, receivable, part, share)
                for step, part, share in _numbered(wallets, held)
            ]


def _of_capture(
    amount_minor: int, payment: PaymentStanding, receivable: AccountKey
) -> list[Movement]:
    """Each seller's share and the fee on it: steps 1 and 2 are the first's, 3 and 4 the next's."""
    if payment.splits:
        shares = capture_shares_minor(payment.splits, amount_minor)
        after = after_capture(payment.splits, amount_minor)
        fees = [
            new.fee_taken_minor - old.fee_taken_minor
            for old, new in zip(payment.splits, after, strict=True)
        ]
    else:
        shares, fees = [amount_minor], [payment.fee_due_minor(amount_minor)]
    income = fee_income(payment.merchant_no, payment.mode, payment.currency)
    movements: list[Movement] = []
    for step, part, share in _numbered(_wallets(payment), shares):
        movements.append(Movement(2 * step - 1, TransferKind.CAPTURE, receivable, part, share))
        if (fee_minor := fees[step - 1]) > 0:
            movements.append(Movement(2 * step, TransferKind.FEE, part, income, fee_minor))
    return movements


def gross_minor(movements: Sequence[Movement]) -> int:
    """What they move between a PSP and the sellers, in minor units: all but our fees."""
    return sum(moved.amount_minor for moved in movements if moved.kind is not TransferKind.FEE)


def of_dispute(dispute: Dispute, payment: PaymentStanding) -> list[Movement]:
    """What a dispute moves as it comes to stand so: into the hold, and from there back, or to the PSP.

    Of a payment with splits, each seller's share goes in by a step of its own, and back by one behind all these.
    """
    merchant_no, mode, currency = payment.merchant_no, payment.mode, payment.currency
    hold = dispute_hold(merchant_no, mode, currency)
    wallets = _wallets(payment)
    ends_behind = len(wallets)
    numbered = _numbered(wallets, dispute.shares_minor or [dispute.amount_minor])
    match dispute.state:
        case DisputeState.OPENED:
            return [
                Movement(step, TransferKind.DISPUTE, part, hold, share)
                for step, part, share in numbered
            ]
        case DisputeState.WON:
            return [
                Movement(ends_behind + step, TransferKind.DISPUTE_WON, hold, part, share)
                for step, part, share in numbered
            ]
        case DisputeState.LOST:
            receivable = psp_receivable(merchant_no, mode, payment.psp or "", currency)
            step, amount_minor = ends_behind + 1, dispute.amount_minor
            return [Movement(step, TransferKind.DISPUTE_LOST, hold, receivable, amount_minor)]


def _wallets(payment: PaymentStanding) -> list[AccountKey]:
    """Return the wallets of its sellers, in the order of its parts."""
    merchant_no, mode, currency = payment.merchant_no, payment.mode, payment.currency
    return [wallet(merchant_no, mode, seller_no, currency) for seller_no in payment.sellers]


def _numbered(
    wallets: Sequence[AccountKey], shares: Sequence[int]
) -> list[tuple[int, AccountKey, int]]:
    """Return what is not nothing, each with its part's number from 1: so a step names the same part always."""
    return [
        (number, part, share)
        for number, (part, share) in enumerate(zip(wallets, shares, strict=True), 1)
        if share > 0
    ]


def accounts_of_dispute(payment: PaymentStanding) -> set[AccountKey]:
    """Return every account that an event of a dispute may move money on."""
    merchant_no, mode, currency = payment.merchant_no, payment.mode, payment.currency
    return {
        *_wallets(payment),
        dispute_hold(merchant_no, mode, currency),
        psp_receivable(merchant_no, mode, payment.psp or "", currency),
    }


def accounts_of(
    command: PaymentCommand | Operation, psp: str, payment: PaymentStanding | None
) -> Collection[AccountKey]:
    """Return every account that an approval may move money on. ``payment`` is an operation's."""
    if isinstance(command, PaymentCommand):
        if command.splits is None:
            # Without the movements, which are made once it is approved.
            named = charge_accounts(
                command.merchant_no, command.mode, psp, command.seller_no, command.currency
            )
            moves_fee = command.fee_minor > 0 and not command.captures_manually
            return named if moves_fee else named[:2]
        of_order = of_authorization if command.captures_manually else of_success
        return {key for moved in of_order(command, psp) for key in (moved.debit, moved.credit)}
    if payment is None:
        raise InvariantViolation("an operation without its payment")
    merchant_no, mode, currency = payment.merchant_no, payment.mode, payment.currency
    return {
        *_wallets(payment),
        psp_receivable(merchant_no, mode, psp, currency),
        fee_income(merchant_no, mode, currency),
    }
