"""Which money moves when: one pure function for each thing that can happen.

Accounts are named by key; the book turns keys into the partition's own account numbers.
"""

from __future__ import annotations

from typing import NamedTuple

from payments.accounts import AccountKey, fee_income, psp_receivable, wallet
from payments.commands import PaymentCommand
from payments.rows import TransferKind


class Movement(NamedTuple):
    """One transfer before its accounts have numbers. ``step`` is unique within the order."""

    step: int
    kind: TransferKind
    debit: AccountKey
    credit: AccountKey
    amount_minor: int


def of_success(command: PaymentCommand, psp: str) -> list[Movement]:
    """A charge succeeded: the PSP owes us the gross, the seller has it, and pays our fee out of it.

    A zero fee moves nothing, so it makes no row.
    """
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
