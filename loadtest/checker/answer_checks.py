"""One key, one answer; no merchant's key meets another's; none is forgotten: I13, I14 and I23."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.checker.acceptance_checks import HTTP_CREATED, HTTP_PAYMENT_REQUIRED
from loadtest.checker.asked import asked_orders
from loadtest.checker.derivation import order_uuid
from loadtest.checker.findings import Findings, Subject
from loadtest.checker.joined import Joined, Op, id_of
from loadtest.checker.records import ClientKey, EventType, OpKind, OrderRecord, OutcomeRecord

FROZEN_STATUSES = (HTTP_CREATED, HTTP_PAYMENT_REQUIRED)
REUSED = "idempotency_key_reused"
# A replay is told from a first use by its time of acceptance, in milliseconds.
SAME_MOMENT_NS = 2_000_000


def one_key_one_answer(joined: Joined, found: Findings) -> None:
    """I13: the same request gets the same frozen bytes; another one under its key is refused."""
    for key, ops in joined.posts.items():
        rows = joined.orders_by_key.get(key, ())
        order = rows[0] if len(rows) == 1 else None
        _same_bytes(key, ops, found)
        for op in ops:
            wrong = _wrong_answer(joined, op, ops, order)
            found.check(wrong is None, f"{key[0]} {key[2]}: {wrong}", Subject(key=key))


def _same_bytes(key: ClientKey, ops: Sequence[Op], found: Findings) -> None:
    first: Op | None = None
    for op in ops:
        if op.end is None or op.end.status not in FROZEN_STATUSES:
            continue
        if first is None:
            first = op
            continue
        assert first.end is not None
        found.check(
            (op.end.status, op.end.body_sha256) == (first.end.status, first.end.body_sha256),
            f"{key[0]} {key[2]}: #{first.invoke.op} and #{op.invoke.op} got two frozen answers,"
            f" {first.end.status} and {op.end.status}, of different bytes",
            Subject(key=key),
        )


def _wrong_answer(
    joined: Joined, op: Op, ops: Sequence[Op], order: OrderRecord | None
) -> str | None:
    end = op.end
    if end is None:
        return None
    name = f"#{op.invoke.op}"
    if op.is_acknowledged:
        if order is None or end.is_deferred:
            return None
        if op.invoke.fingerprint != order.fingerprint:
            return f"{name} is another request than the order's, and was answered {end.status}"
        if end.status in FROZEN_STATUSES:
            return _misstated(joined, op, order)
        return None
    if joined.document(end).get("code") != REUSED:
        return None
    own = op.invoke.fingerprint
    if all(other.invoke.fingerprint == own for other in ops):
        return f"{name} was refused as another request, and there never was another one"
    for other in ops:
        if (
            other.invoke.fingerprint == own
            and other.is_acknowledged
            and other.end is not None
            and not other.end.is_deferred
            and other.end.at_ns < op.invoke.at_ns
        ):
            return (
                f"{name} was refused as another request, and #{other.invoke.op}, the very same, had"
                f" been answered {other.end.status} before"
            )
    return None


def _misstated(joined: Joined, op: Op, order: OrderRecord) -> str | None:
    """Return what a frozen answer says otherwise than the books, or None."""
    assert op.end is not None
    outcomes = joined.outcomes.get(id_of(order), ())
    shown = joined.shown(op.end)
    if not shown or len(outcomes) != 1:
        return None
    wanted = _as_shown(order, outcomes[0])
    for name, value in wanted.items():
        if shown.get(name) != value:
            return f"#{op.invoke.op} shows {name} {shown.get(name)!r}, the books say {value!r}"
    is_failed = outcomes[0].status == "failed"
    if is_failed != (op.end.status == HTTP_PAYMENT_REQUIRED):
        return f"#{op.invoke.op} was answered {op.end.status}, and the order {outcomes[0].status}"
    return None


def _as_shown(order: OrderRecord, outcome: OutcomeRecord) -> dict[str, object]:
    return {
        "id": order.key,
        "status": outcome.status,
        "amount": order.amount_minor,
        "amount_captured": outcome.amount_captured_minor,
        "currency": order.currency,
        "seller": order.seller,
        "fee": outcome.fee_minor,
        "psp": outcome.psp,
        "psp_reference": outcome.psp_reference,
    }


def keys_are_never_new_again(joined: Joined, found: Findings) -> None:
    """I23: a request that was acknowledged once is a replay from then on, whatever clocks did since.

    With a deferred key check nobody looked, so nothing follows from it.
    """
    for key, ops in joined.posts.items():
        first_ns: dict[str, int] = {}
        for op in ops:
            if op.is_acknowledged and op.end is not None and not op.end.is_deferred:
                made = op.invoke.fingerprint
                first_ns[made] = min(op.end.at_ns, first_ns.get(made, op.end.at_ns))
        for op in ops:
            told_ns = first_ns.get(op.invoke.fingerprint)
            if told_ns is None or op.invoke.at_ns <= told_ns + SAME_MOMENT_NS:
                continue
            if op.is_acknowledged and op.end is not None and not op.end.is_deferred:
                found.check(
                    op.end.is_replayed,
                    f"{key[0]} {key[2]}: #{op.invoke.op} was taken for a first use"
                    f" ({op.end.status}), and the very same had been acknowledged before",
                    Subject(key=key),
                )


def merchants_never_meet(joined: Joined, found: Findings) -> None:
    """I14: the same key of two merchants, or modes, names two orders; neither sees the other's."""
    for order in joined.records.orders:
        key = (order.merchant, order.mode, order.key)
        found.check(
            order.order_uuid == order_uuid(*key),
            f"order {id_of(order)} has not the identity that follows from {key}",
            Subject(key=key, order=id_of(order)),
        )
    for key, ops in joined.posts.items():
        for op in (*ops, *joined.gets.get(key, ())):
            wrong = _foreign(joined, op, ops)
            found.check(wrong is None, f"{key[0]} {key[2]}: {wrong}", Subject(key=key))
    of_checkouts = asked_orders(joined)
    for op in joined.ops:
        if op.invoke.kind is not OpKind.LIST or op.end is None or op.type is not EventType.OK:
            continue
        listed = joined.document(op.end).get("ids")
        merchant, mode = op.invoke.merchant, op.invoke.mode
        for listed_key in listed if isinstance(listed, list) else ():
            name = (merchant, mode, listed_key)
            found.check(
                name in joined.posts or name in of_checkouts,
                f"#{op.invoke.op} lists {listed_key} to {merchant}, which never sent it",
                Subject(key=(merchant, mode, str(listed_key))),
            )


def _foreign(joined: Joined, op: Op, own: Sequence[Op]) -> str | None:
    """Return what an answer shows that this merchant never sent under its key, or None."""
    if not op.is_acknowledged or op.end is None:
        return None
    shown = joined.shown(op.end)
    if not shown:
        return None
    amounts = {(each.invoke.amount_minor, each.invoke.currency) for each in own}
    if (shown.get("amount"), shown.get("currency")) in amounts:
        return None
    return (
        f"#{op.invoke.op} shows {shown.get('amount')} {shown.get('currency')}, which this merchant"
        " never sent"
    )
