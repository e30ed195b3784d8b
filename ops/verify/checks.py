"""The checks by name: what each one claims of the books. Their SQL goes by the same names.

In this order they are reported; the first one that fails tells its story. Rows of single orders
come before the sums that they make, so that the story is that of an order where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping

ATTEMPTS = "attempts"
IDENTITIES = "order_identities"
ORACLE_READ = "oracle"
CHARGES_BOOKED = "charges_are_booked"

LEDGER: Mapping[str, str] = {
    "partitions": "every partition of the deployment has its row, and no other has",
    "order_numbers": "orders are numbered from 1 without a gap, up to the partition's last number",
    "orders_are_unique": "no two orders have one identity",
    "order_parties": "merchant and seller of an order exist and belong together",
    "splits": "the parts of a charge are sellers' and sum to it; no more of one was moved than it has",
    "orders_stand_once": "an order is open or has one outcome; nothing is open or ended without order",
    "outcomes_match_orders": "an outcome has its order's amount, currency, fee and attempt",
    "references_are_unique": "no two payments are one charge: each has a reference of its own at its PSP",
    "transfers_match_outcomes": "a success moved gross and fee, nothing else moved anything",
    "operations": "a capture, void or refund is of an ended payment, at its PSP, and tells how it ended",
    "operation_transfers": "an operation that was done moved its amount and fee, nothing else did",
    "disputes": "a dispute is of a captured payment, holds its amount, and gives it to whoever won it",
    "standings": "what was captured and refunded follows from the operations, and is never above",
    ATTEMPTS: "attempts are gapless, under the key of their order, at a PSP that can be asked",
    "events": "an order's events are gapless, a path of the life cycle, and lead to where it stands",
    "timers": "only open orders and what is held have a timer, and what is held has one",
    "refused_requests": "a refused request differs from the order that had taken its key",
    "checkouts": "a checkout has its orders, each once, and they are as it asked for them",
    "set_aside_orders": "an order that was set aside has its letter, and goes one way at most",
    "letter_actions": "what was done with a dead letter was wanted, audited, and done once",
    "parked_orders": "only open orders are parked, and nothing is due for them",
    "evidence": "what was said of a charge waits, or has its result; what was accepted ended its order so",
    "psp_events": "a PSP's event waits, or has its result; what it ended, or agrees with, is as it told",
    "ended_by_one_word": "no order was ended by two words, and no event was kept twice",
    IDENTITIES: "order_uuid derives from merchant, mode and key, the partition from order_uuid",
    "batches": "each batch has one line, with as many outcomes and transfers as there are",
    "chain": "each batch's hash follows from its rows and the hash before, up to the head",
    "accounts": "accounts are gapless, have their slice and the reverse, and a holder",
    "slices": "a slice is the sum of its transfers, its version is their number",
    "currencies": "debits equal credits in each currency, by transfers and by slices",
    "wallets": "a wallet's balance, the sum of its slices, is the sum of its entries",
}

OF_SUMS = frozenset({"accounts", "slices", "currencies"})
"""Checks that compare with what the transfers come to, or tell it: that is summed up once."""

STREAMED = (IDENTITIES,)
"""Checks whose rows pass through the verifier: the server has no SHA-1."""

READING: Mapping[str, str] = {
    ORACLE_READ: "the PSP's record can be read to its end, without a gap, and fits its totals",
}
COMPARISONS: Mapping[str, str] = {
    CHARGES_BOOKED: "each charge or hold is booked: order, attempt, reference, amount and currency agree",
    "transfers_are_charged": "each charge transfer and each hold has one charge, of its amount and currency",
    "evidence_is_charged": "what ended an order on somebody's word is what the PSP recorded",
    "references_recorded_once": "no two charges of the PSP's record have one reference",
    "orders_charged_once": "no merchant's order was charged twice, here or at another PSP",
}
ORACLE: Mapping[str, str] = {**READING, **COMPARISONS}
"""Made once for each PSP, and shown as ``name:psp``."""

EVERY: Mapping[str, str] = {**LEDGER, **ORACLE}
