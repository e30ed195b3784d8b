"""Accounts of the ledger: what they are called and which side raises them.

An account belongs to a tenant and mode. Each partition holds its own *slice* of it; the balance is the
sum of the slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from payments.mode import Mode


class AccountKind(IntEnum):
    """What an account is for. Stored; never renumber."""

    WALLET = 1
    PSP_RECEIVABLE = 2
    FEE_INCOME = 3
    BANK = 4
    PSP_FEE_EXPENSE = 5
    PAYOUT_IN_TRANSIT = 6
    DISPUTE_HOLD = 7
    SUSPENSE = 8
    SLICE_IN_TRANSIT = 9

    # As the integer that it equals: Enum's own hash is that of its name, and is not done in C.
    __hash__ = int.__hash__


class NormalSide(IntEnum):
    """The side that raises an account."""

    DEBIT = 1
    CREDIT = 2


# A wallet is what we owe its holder: a liability, so a credit raises it.
NORMAL_SIDES: Mapping[AccountKind, NormalSide] = {
    AccountKind.WALLET: NormalSide.CREDIT,
    AccountKind.PSP_RECEIVABLE: NormalSide.DEBIT,
    AccountKind.FEE_INCOME: NormalSide.CREDIT,
    AccountKind.BANK: NormalSide.DEBIT,
    AccountKind.PSP_FEE_EXPENSE: NormalSide.DEBIT,
    AccountKind.PAYOUT_IN_TRANSIT: NormalSide.CREDIT,
    AccountKind.DISPUTE_HOLD: NormalSide.CREDIT,
    AccountKind.SUSPENSE: NormalSide.CREDIT,
    AccountKind.SLICE_IN_TRANSIT: NormalSide.CREDIT,
}


class AccountKey(NamedTuple):
    """The name of one account within a partition.

    ``holder`` is a seller's number in decimal for a wallet, a PSP's name for what it owes us, and
    empty for accounts the tenant has once.
    """

    merchant_no: int
    mode: Mode
    kind: AccountKind
    holder: str
    currency: str


# One name serves all payments of a busy seller; so many take about 3 MB.
NAMES_KEPT_MAX = 16_384


@lru_cache(maxsize=NAMES_KEPT_MAX)
def wallet(merchant_no: int, mode: Mode, seller_no: int, currency: str) -> AccountKey:
    """The account that says what a seller may have of us."""
    return AccountKey(merchant_no, mode, AccountKind.WALLET, str(seller_no), currency)


@lru_cache(maxsize=NAMES_KEPT_MAX)
def psp_receivable(merchant_no: int, mode: Mode, psp: str, currency: str) -> AccountKey:
    """The account that says what a PSP has taken for this tenant and not yet settled."""
    return AccountKey(merchant_no, mode, AccountKind.PSP_RECEIVABLE, psp, currency)


@lru_cache(maxsize=NAMES_KEPT_MAX)
def fee_income(merchant_no: int, mode: Mode, currency: str) -> AccountKey:
    """The account that collects our fees of this tenant."""
    return AccountKey(merchant_no, mode, AccountKind.FEE_INCOME, "", currency)


class ChargeAccounts(NamedTuple):
    """The accounts of a charge that is one seller's."""

    receivable: AccountKey
    wallet: AccountKey
    income: AccountKey


@lru_cache(maxsize=NAMES_KEPT_MAX)
def charge_accounts(
    merchant_no: int, mode: Mode, psp: str, seller_no: int, currency: str
) -> ChargeAccounts:
    """All three by one look-up: every payment needs them twice, to load them and to post to them."""
    return ChargeAccounts(
        psp_receivable(merchant_no, mode, psp, currency),
        wallet(merchant_no, mode, seller_no, currency),
        fee_income(merchant_no, mode, currency),
    )


@lru_cache(maxsize=NAMES_KEPT_MAX)
def dispute_hold(merchant_no: int, mode: Mode, currency: str) -> AccountKey:
    """The account that keeps disputed amounts of this tenant until the disputes have ended."""
    return AccountKey(merchant_no, mode, AccountKind.DISPUTE_HOLD, "", currency)
