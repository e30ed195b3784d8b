"""Checkouts, each under a key of its own: their part of I1, I13 and I23."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loadtest.checker.asked import Asked
from loadtest.checker.derivation import checkout_id, checkout_uuid
from loadtest.checker.findings import Findings, Subject
from loadtest.checker.joined import Joined, Op
from loadtest.checker.operation_checks import REUSED, SAME_MOMENT_NS
from loadtest.checker.records import CheckoutOrderRecord, CheckoutRecord, ClientKey, EventType

# An order that has this end, and no other, counts as paid where a checkout sums up.
_PAID = "succeeded"


def acknowledged_checkouts_are_kept(joined: Joined, found: Findings) -> None:
    """I1: each answer that took a checkout in is one row of the books with its orders, and each of the
    orders is one order of the books, with the same request.
    """
    asked = Asked(joined)
    checkouts, orders = asked.checkout_rows(), asked.checkout_order_rows()
    for key, ops in asked.checkouts.items():
        for op in ops:
            if not op.is_acknowledged or op.end is None or op.end.is_deferred:
                continue
            wrong = _loss(joined, op, checkouts.get(key, ()), orders)
            found.check(wrong is None, f"{_told(key)}: {wrong}", Subject(key=key))


def _loss(
    joined: Joined,
    op: Op,
    rows: Sequence[CheckoutRecord],
    orders: Mapping[str, Sequence[CheckoutOrderRecord]],
) -> str | None:
    sent = op.invoke
    answered = f"#{sent.op} was answered {0 if op.end is None else op.end.status}"
    if len(rows) != 1:
        return f"{answered}, and the books hold {len(rows)} of it"
    if rows[0].fingerprint != sent.fingerprint:
        return f"{answered}, and the books hold another request under its key"
    if rows[0].checkout_uuid != checkout_uuid(sent.merchant, sent.mode, sent.key):
        return f"{answered}, and is kept as {rows[0].checkout_uuid}"
    kept = [each[1:] for each in orders.get(rows[0].checkout_uuid, ())]
    if kept != list(map(tuple, sent.orders)):
        return f"{answered}, asked for {sent.orders}, and is kept with {kept}"
    for order in sent.orders:
        found = joined.orders_by_key.get((sent.merchant, sent.mode, order.key), ())
        if [each.fingerprint for each in found] != [order.fingerprint]:
            return f"{answered}, and of its order {order.key} the books hold {len(found)}"
    return None


def one_checkout_one_answer(joined: Joined, found: Findings) -> None:
    """I13: the same request shows the same checkout, which sums its orders up; another one is refused."""
    asked = Asked(joined)
    for key, ops in asked.checkouts.items():
        for op in ops:
            wrong = _wrong_answer(joined, op, ops)
            found.check(wrong is None, f"{_told(key)}: {wrong}", Subject(key=key))


def _wrong_answer(joined: Joined, op: Op, ops: Sequence[Op]) -> str | None:
    sent, end = op.invoke, op.end
    if end is None:
        return None
    shown = joined.document(end)
    if op.type is EventType.OK:
        wanted = checkout_id(sent.merchant, sent.mode, sent.key)
        if shown and shown.get("id") != wanted:
            return f"#{sent.op} shows the checkout {shown.get('id')}, not {wanted}"
        return _wrong_sum(sent.op, shown)
    if shown.get("code") != REUSED:
        return None
    if all(other.invoke.fingerprint == sent.fingerprint for other in ops):
        return f"#{sent.op} was refused as another request, and there never was another one"
    return None


def _wrong_sum(op: int, shown: Mapping[str, object]) -> str | None:
    orders = shown.get("orders")
    if not isinstance(orders, list):
        return None
    states = [order.get("status") for order in orders]
    is_paid = all(state == _PAID for state in states)
    if shown.get("is_payment_done") is is_paid:
        return None
    return f"#{op} says is_payment_done {shown.get('is_payment_done')} of orders {states}"


def checkouts_are_never_new_again(joined: Joined, found: Findings) -> None:
    """I23: a checkout that was acknowledged once is a replay from then on."""
    for key, ops in Asked(joined).checkouts.items():
        told = [
            op.end.at_ns
            for op in ops
            if op.is_acknowledged and op.end is not None and not op.end.is_deferred
        ]
        for op in ops:
            if op.end is None or not op.is_acknowledged or op.end.is_deferred:
                continue
            if op.invoke.at_ns > min(told) + SAME_MOMENT_NS:
                found.check(
                    op.end.is_replayed,
                    f"{_told(key)}: #{op.invoke.op} was taken for a first use ({op.end.status}),"
                    " and it had been acknowledged before",
                    Subject(key=key),
                )


def _told(key: ClientKey) -> str:
    return f"checkout {key[2]} of {key[0]}"
