"""What the PSPs' own records say against the books: I4, I5 and I6."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence

from loadtest.checker.derivation import psp_key
from loadtest.checker.findings import Findings, Subject
from loadtest.checker.joined import CAPTURED, Joined, grouped, id_of
from loadtest.checker.records import (
    AttemptRecord,
    ChargeRecord,
    EventType,
    OrderId,
    OrderRecord,
    OutcomeRecord,
    TransferRecord,
)

# After one of these a key never charges: another attempt may follow.
_ENDS_WITHOUT_CHARGE = frozenset({"declined", "canceled"})
# What the PSP calls it, and the failure code of an order that ended so.
DECLINED = "declined"


def at_most_one_charge(joined: Joined, found: Findings) -> None:
    """I4: one successful charge a merchant and key, one result a PSP key, no key without its row."""
    if _is_a_record_missing(joined, found):
        return
    captured: Counter[tuple[str, str, str]] = Counter()
    for charge in joined.records.charges:
        wrong = _unexplained(joined, charge)
        found.check(
            wrong is None,
            f"charge {charge.reference} at {charge.psp} {wrong}",
            Subject(psp_key=charge.psp_key),
        )
        owner = _owner(joined, charge)
        mode = "" if owner is None else owner.mode
        if charge.captured_minor > 0:
            captured[charge.merchant, mode, charge.order_key] += 1
    for (merchant, mode, key), count in captured.items():
        found.check(
            count == 1,
            f"{merchant} {key} was charged {count} times",
            Subject(key=(merchant, mode, key)),
        )
    results = Counter((charge.psp, charge.psp_key) for charge in joined.records.charges)
    for (psp, key_at_psp), count in results.items():
        found.check(
            count == 1,
            f"{psp} has {count} results for the key {key_at_psp}",
            Subject(psp_key=key_at_psp),
        )
    for order, attempts in joined.attempts.items():
        wrong = _wrong_attempts(joined, order, attempts)
        found.check(wrong is None, f"order {order}: {wrong}", Subject(order=order))


def _is_a_record_missing(joined: Joined, found: Findings) -> bool:
    """Whether a PSP that attempts went to has no record here: then nothing follows."""
    tried = {attempt.psp for attempt in joined.records.attempts}
    if unread := sorted(tried - set(joined.records.psps)):
        found.unknown = f"the record of {', '.join(unread)} was not read"
    return bool(unread)


def _owner(joined: Joined, charge: ChargeRecord) -> OrderRecord | None:
    attempts = joined.attempt_by_key.get(charge.psp_key, ())
    return joined.order_by_id.get(id_of(attempts[0])) if attempts else None


def _unexplained(joined: Joined, charge: ChargeRecord) -> str | None:
    """Return why a charge does not follow from an attempt of the books, or None."""
    if charge.status == "canceled":
        return None
    attempts = joined.attempt_by_key.get(charge.psp_key, ())
    if len(attempts) != 1:
        return f"has a key of {len(attempts)} attempts: {charge.psp_key}"
    order = joined.order_by_id.get(id_of(attempts[0]))
    if order is None:
        return "is of an attempt whose order is not there"
    if attempts[0].psp != charge.psp:
        return f"is of an attempt at {attempts[0].psp}"
    if (charge.merchant, charge.order_key) != (order.merchant, order.key):
        return f"is for {charge.merchant} {charge.order_key}, its attempt for {order.key}"
    if (charge.amount_minor, charge.currency) != (order.amount_minor, order.currency):
        return (
            f"is over {charge.amount_minor} {charge.currency}, the order over"
            f" {order.amount_minor} {order.currency}"
        )
    return None


def _wrong_attempts(joined: Joined, here: OrderId, attempts: Sequence[AttemptRecord]) -> str | None:
    order, operation = joined.order_by_id.get(here), joined.operation_by_id.get(here)
    identity = order.order_uuid if order is not None else None
    identity = operation.operation_uuid if operation is not None else identity
    if identity is None:
        return "has attempts, and is not there"
    numbers = [attempt.attempt_no for attempt in attempts]
    if numbers != list(range(1, len(attempts) + 1)):
        return f"has attempts {numbers}"
    for attempt in attempts:
        if attempt.psp_key != psp_key(identity, attempt.attempt_no):
            return f"attempt {attempt.attempt_no} has a key that does not follow from the order"
    for attempt, later in itertools.pairwise(attempts):
        if (wrong := _left_unclear(joined, order, attempt, later)) is not None:
            return wrong
    return None


def _left_unclear(
    joined: Joined, order: OrderRecord | None, attempt: AttemptRecord, later: AttemptRecord
) -> str | None:
    """Return why an attempt must not have been followed by another one, or None.

    It must have ended clean, or by its PSP's word that it does not charge.
    """
    charges = joined.charges_by_psp_key.get(attempt.psp_key, ())
    name = f"attempt {attempt.attempt_no} at {attempt.psp}"
    for charge in charges:
        if charge.status not in _ENDS_WITHOUT_CHARGE:
            return f"{name} is {charge.status} there, and attempt {later.attempt_no} follows"
    if charges:
        return None
    if later.epoch != attempt.epoch:
        return (
            f"{name} was inherited (epoch {attempt.epoch}, then {later.epoch}) without its PSP's"
            f" word, and attempt {later.attempt_no} at {later.psp} follows"
        )
    if order is None:
        # An operation's answers are not among those of its payment.
        return None
    key = (order.merchant, order.mode, order.key)
    for op in (*joined.posts.get(key, ()), *joined.gets.get(key, ())):
        if op.end is None or op.end.type is not EventType.OK:
            continue
        shown = joined.shown(op.end)
        if shown.get("outcome") == "unknown" and shown.get("attempts") == attempt.attempt_no:
            return (
                f"{name} was unclear, as #{op.invoke.op} shows, and attempt {later.attempt_no} at"
                f" {later.psp} follows"
            )
    return None


def receivables_equal_the_records(joined: Joined, found: Findings) -> None:
    """I5: per PSP and currency, what it captured less what it gave back is what it owes us."""
    owed: defaultdict[tuple[str, str], int] = defaultdict(int)
    for row in joined.records.slices:
        account = joined.account_by_id.get((row.partition_index, row.account_no))
        if account is not None and account.kind == "psp_receivable":
            owed[account.holder, account.currency] += row.debits_minor - row.credits_minor
    taken: defaultdict[tuple[str, str], int] = defaultdict(int)
    for charge in joined.records.charges:
        kept_minor = charge.captured_minor - charge.refunded_minor - charge.charged_back_minor
        if kept_minor:
            taken[charge.psp, charge.currency] += kept_minor
    if _is_a_record_missing(joined, found):
        return
    for psp, currency in sorted(owed.keys() | taken.keys()):
        found.check(
            owed[psp, currency] == taken[psp, currency],
            f"{psp} has taken {taken[psp, currency]} {currency}, and owes"
            f" {owed[psp, currency]} by the books",
            Subject(),
        )


def charges_are_booked(joined: Joined, found: Findings) -> None:
    """I6: each captured charge is one success in the books by reference, and the reverse; and what
    failed as declined was declined.
    """
    if _is_a_record_missing(joined, found):
        return
    successes = grouped(
        ((str(row.psp), str(row.psp_reference)), row)
        for row in map(joined.booked, joined.records.outcomes)
        if id_of(row) in joined.order_by_id
        and (row.amount_captured_minor > 0 or row.status == "succeeded")
    )
    captured = grouped(
        ((row.psp, row.reference), row)
        for row in joined.records.charges
        if row.captured_minor > 0 or row.status == CAPTURED
    )
    for name, charges in captured.items():
        wrong = _unbooked(charges, successes.get(name, ()))
        found.check(
            wrong is None,
            f"charge {name[1]} at {name[0]} {wrong}",
            Subject(psp_key=charges[0].psp_key),
        )
    for outcome in joined.records.outcomes:
        if outcome.failure_code != DECLINED or id_of(outcome) in joined.operation_by_id:
            continue
        of_order = joined.attempts.get(id_of(outcome), ())
        keys = [row.psp_key for row in of_order if row.attempt_no == outcome.attempt_no]
        found.check(
            any(
                charge.status == DECLINED
                for key in keys
                for charge in joined.charges_by_psp_key.get(key, ())
            ),
            f"order {id_of(outcome)} failed as declined, and {outcome.psp} has declined nothing",
            Subject(order=id_of(outcome)),
        )
    for name, outcomes in successes.items():
        wrong = None if name in captured else "is not captured there"
        if outcomes[0].status == "succeeded":
            wrong = wrong or _wrong_transfers(joined, outcomes)
        found.check(
            wrong is None,
            f"the success of order {id_of(outcomes[0])} by {name[1]} at {name[0]} {wrong}",
            Subject(order=id_of(outcomes[0])),
        )


def _unbooked(charges: Sequence[ChargeRecord], outcomes: Sequence[OutcomeRecord]) -> str | None:
    if len(charges) != 1 or len(outcomes) != 1:
        return f"is there {len(charges)} times, and booked {len(outcomes)} times"
    taken = (charges[0].captured_minor, charges[0].currency)
    booked = (outcomes[0].amount_captured_minor, outcomes[0].currency)
    return None if taken == booked else f"captured {taken}, and is booked as {booked}"


def _wrong_transfers(joined: Joined, outcomes: Sequence[OutcomeRecord]) -> str | None:
    """Return what is wrong with the transfers that a success must have made, or None."""
    outcome = outcomes[0]
    order = joined.order_by_id.get(id_of(outcome))
    if order is None:
        return "is of no order"
    receivable = ("psp_receivable", order.merchant, order.mode, outcome.psp, outcome.currency)
    income = ("fee_income", order.merchant, order.mode, "", outcome.currency)
    parts = [
        (part.seller, part.amount_minor, part.fee_minor)
        for part in joined.splits.get(id_of(order), ())
    ] or [(order.seller, outcome.amount_captured_minor, outcome.fee_minor)]
    wanted: list[tuple[object, ...]] = []
    for seller, amount_minor, fee_minor in parts:
        wallet = ("wallet", order.merchant, order.mode, seller, outcome.currency)
        wanted.append(("charge", amount_minor, receivable, wallet))
        wanted += [("fee", fee_minor, wallet, income)] if fee_minor else []
    rows = joined.transfers.get(id_of(outcome), ())
    moved = [
        (row.kind, row.amount_minor, _account(joined, row, True), _account(joined, row, False))
        for row in rows
        if row.kind in ("charge", "fee")
    ]
    return None if moved == wanted else f"moved {moved}, and had to move {wanted}"


def _account(joined: Joined, row: TransferRecord, is_debit: bool) -> tuple[object, ...]:
    """Return what the account of one side of a transfer is."""
    account_no = row.debit_account_no if is_debit else row.credit_account_no
    found = joined.account_by_id.get((row.partition_index, account_no))
    if found is None:
        return ("no account",)
    return found.kind, found.merchant, found.mode, found.holder, found.currency
