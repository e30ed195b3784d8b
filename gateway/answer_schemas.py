"""The shapes of what ``gateway.rendering`` renders beside payments: transfers, sellers, wallets."""

from __future__ import annotations

from payments.currencies import EXPONENTS
from payments.fees import FIXED_MINOR_MAX
from payments.json_schema import (
    CURRENCY,
    TIME,
    Schema,
    constant,
    list_of,
    minor_units,
    record,
    text,
)
from payments.money import BASIS_POINTS_PER_WHOLE

CURRENCY_CODES: Schema = {"type": "string", "enum": sorted(EXPONENTS)}
"""Every currency that an amount can be in."""

TRANSFER: Schema = record(
    "Transfer",
    "One movement of money, with both its halves.",
    {
        "id": text(pattern="^tr_"),
        "object": constant("transfer"),
        "kind": text("Such as `charge` or `fee`."),
        "debit_account": text("Such as `psp_receivable:simulator`."),
        "credit_account": text("Such as `wallet:slr_shoes`."),
        "amount": minor_units(minimum=1),
        "currency": CURRENCY,
        "created_at": TIME,
        "batch": text("What was written together has one batch.", pattern="^bt_"),
    },
)
TRANSFER_LIST: Schema = list_of(TRANSFER)

FEE: Schema = record(
    "Fee",
    "Basis points of the amount, and a fixed part in minor units: the currency's, else the default.",
    {
        "basis_points": {"type": "integer", "minimum": 0, "maximum": BASIS_POINTS_PER_WHOLE},
        "fixed": {
            "type": "object",
            "propertyNames": CURRENCY_CODES,
            "additionalProperties": {"type": "integer", "minimum": 0, "maximum": FIXED_MINOR_MAX},
        },
        "fixed_default": {"type": "integer", "minimum": 0, "maximum": FIXED_MINOR_MAX},
    },
    optional=("fixed_default",),
)
SELLER: Schema = record(
    "Seller",
    "Whose wallet is credited.",
    {
        "id": text(),
        "object": constant("seller"),
        "name": text(),
        "fee": FEE,
        "created_at": TIME,
    },
)
SELLER_LIST: Schema = list_of(SELLER)

BALANCE: Schema = record(
    "Balance",
    "A wallet in one currency. Sums may exceed 2^53: read them as big integers.",
    {
        "currency": CURRENCY,
        "posted": minor_units("Settled in the books; a refund can make it negative.", minimum=None),
        "pending": minor_units(
            "What `posted` changes by once every hold is captured.", minimum=None
        ),
        "available": minor_units("What can be spent now.", minimum=None),
    },
)
WALLET: Schema = record(
    "Wallet",
    "Balances by currency: none for a currency that never moved.",
    {
        "object": constant("wallet"),
        "owner": text("The seller's id."),
        "balances": {"type": "array", "items": BALANCE},
        "as_of": TIME,
    },
)
