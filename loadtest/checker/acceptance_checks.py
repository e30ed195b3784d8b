"""What was accepted is in the books, and nothing else is: I1, I3 and I28."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.checker.asked import asked_orders
from loadtest.checker.findings import Findings, Subject
from loadtest.checker.joined import Joined, Op, id_of, key_of
from loadtest.checker.records import (
    OPERATIONS,
    ClientEvent,
    EventType,
    FaultPhase,
    OpKind,
    OrderRecord,
)

HTTP_OK, HTTP_CREATED, HTTP_ACCEPTED, HTTP_PAYMENT_REQUIRED = 200, 201, 202, 402

# What was under way when a copy froze may still be acknowledged by it for a moment.
FREEZE_SETTLES_NS = 500_000_000
# A supervisor that finds a frozen copy may restart it; sooner than this none does.
FREEZE_SURE_NS = 2_000_000_000

_OK_STATUSES = {
    OpKind.POST: {HTTP_CREATED, HTTP_ACCEPTED},
    OpKind.GET: {HTTP_OK},
    OpKind.WALLET: {HTTP_OK},
    OpKind.LIST: {HTTP_OK},
    OpKind.CAPTURE: {HTTP_CREATED, HTTP_ACCEPTED},
    OpKind.VOID: {HTTP_CREATED, HTTP_ACCEPTED},
    OpKind.REFUND: {HTTP_CREATED, HTTP_ACCEPTED},
    OpKind.REFUNDS: {HTTP_OK},
    OpKind.GET_REFUND: {HTTP_OK},
    OpKind.CHECKOUT: {HTTP_CREATED, HTTP_ACCEPTED},
    OpKind.GET_CHECKOUT: {HTTP_OK},
}
_MAY_DECLINE = OPERATIONS | {OpKind.POST}
_FREEZING = ("freeze", "sigstop", "stop")


def acknowledged_orders_are_kept(joined: Joined, found: Findings) -> None:
    """I1: each answer that took an order in is one row of the books, with the same request."""
    for key, ops in joined.posts.items():
        rows = joined.orders_by_key.get(key, ())
        for op in ops:
            if not op.is_acknowledged:
                continue
            wrong = _loss(joined, op, rows)
            found.check(wrong is None, f"{key[0]} {key[2]}: {wrong}", Subject(key=key))


def _loss(joined: Joined, op: Op, rows: Sequence[OrderRecord]) -> str | None:
    if len(rows) > 1:
        return f"{len(rows)} orders are in the books"
    assert op.end is not None
    answered = f"#{op.invoke.op} was answered {op.end.status}"
    if not rows:
        return f"{answered}, and the books hold no such order"
    order = rows[0]
    if order.fingerprint != op.invoke.fingerprint:
        if op.end.is_deferred:
            if op.invoke.fingerprint in joined.refused.get(order.order_uuid, ()):
                return None
            return f"{answered} deferred, and is neither the order in the books nor refused"
        return f"{answered}, and the books hold another request under its key"
    sent = op.invoke
    wanted = (sent.amount_minor, sent.currency, sent.seller, sent.metadata)
    kept = (order.amount_minor, order.currency, order.seller, order.metadata)
    return None if wanted == kept else f"{answered}, was sent as {wanted}, and is kept as {kept}"


def no_order_without_a_request(joined: Joined, found: Findings) -> None:
    """I3: each order of the books was asked for, by a request that may have had an effect."""
    of_checkouts = asked_orders(joined)
    for order in joined.records.orders:
        if order.merchant not in joined.merchants:
            continue
        key = (order.merchant, order.mode, order.key)
        is_asked_for = any(
            op.invoke.fingerprint == order.fingerprint and op.type is not EventType.FAIL
            for op in joined.posts.get(key, ())
        ) or any(
            asked.fingerprint == order.fingerprint and op.type is not EventType.FAIL
            for asked, op in of_checkouts.get(key, ())
        )
        found.check(
            is_asked_for,
            f"order {id_of(order)} ({order.merchant} {order.key}) is in the books, and no request"
            " that may have run asked for it",
            Subject(key=key, order=id_of(order)),
        )


def answers_are_documented(joined: Joined, found: Findings) -> None:
    """I28: only documented answers, and none before there were as many copies as promised."""
    if not joined.records.documented:
        found.unknown = "the list of documented codes is missing"
        return
    for op in joined.ops:
        if op.end is None or not op.end.status:
            continue
        wrong = _undocumented(joined, op.invoke.kind, op.end)
        found.check(wrong is None, f"#{op.invoke.op}: {wrong}", Subject(key=key_of(op.invoke)))
    _copies_of_the_queue(joined, found)
    _copies_of_the_books(joined, found)


def _undocumented(joined: Joined, kind: OpKind, end: ClientEvent) -> str | None:
    if end.status in _OK_STATUSES[kind]:
        return None
    code = joined.document(end).get("code")
    if joined.records.documented.get(str(code)) != end.status:
        return f"answered {end.status} with code {code!r}, which is not documented"
    if end.status == HTTP_PAYMENT_REQUIRED and kind not in _MAY_DECLINE:
        return "answered 402 to something that charges nothing"
    return None


def _copies_of_the_queue(joined: Joined, found: Findings) -> None:
    """While the queue's replica is frozen only the books can vouch for a new order.

    So its intake has begun before it is answered; a gateway that answers without the replica's word
    is faster than any owner.
    """
    offset_ns = joined.records.run.unix_less_monotonic_ns
    windows = frozen_windows(joined, "redis_replica")
    if not windows or not offset_ns:
        return
    for key, ops in joined.posts.items():
        rows = joined.orders_by_key.get(key, ())
        for op in ops:
            if not op.is_acknowledged or not _is_within(op, windows) or len(rows) != 1:
                continue
            assert op.end is not None
            found.check(
                rows[0].taken_in_unix_ns - offset_ns <= op.end.at_ns,
                f"#{op.invoke.op} of {key[2]} was answered {op.end.status} while the queue's replica"
                " was frozen, before its owner took it in: only one copy held it",
                Subject(key=key),
            )


def _copies_of_the_books(joined: Joined, found: Findings) -> None:
    """While the standby is frozen no commit ends, so no outcome of that time can be shown."""
    offset_ns = joined.records.run.unix_less_monotonic_ns
    windows = frozen_windows(joined, "postgres_standby")
    if not windows or not offset_ns:
        return
    for key, ops in joined.posts.items():
        rows = joined.orders_by_key.get(key, ())
        outcomes = joined.outcomes.get(id_of(rows[0]), ()) if len(rows) == 1 else ()
        for op in (*ops, *joined.gets.get(key, ())):
            if len(outcomes) != 1 or op.end is None or not _shows_an_end(joined, op.end):
                continue
            recorded_ns = outcomes[0].recorded_unix_ns - offset_ns
            for begin_ns, end_ns in windows:
                if begin_ns <= op.invoke.at_ns and op.end.at_ns < end_ns:
                    found.check(
                        recorded_ns <= begin_ns,
                        f"#{op.invoke.op} shows how {key[2]} ended while the standby was frozen, and"
                        " it ended after the freeze began: only one copy held it",
                        Subject(key=key),
                    )


def _shows_an_end(joined: Joined, end: ClientEvent) -> bool:
    return end.type is EventType.OK and joined.shown(end).get("status") in (
        "succeeded",
        "failed",
        "canceled",
        "expired",
    )


def _is_within(op: Op, windows: Sequence[tuple[int, int]]) -> bool:
    assert op.end is not None
    return any(begin <= op.invoke.at_ns and op.end.at_ns < end for begin, end in windows)


def frozen_windows(joined: Joined, target: str) -> Sequence[tuple[int, int]]:
    """Return when a target, of which there is one, was surely frozen: (begin, end), monotonic ns."""
    begun: dict[str, int] = {}
    windows: list[tuple[int, int]] = []
    for fault in joined.records.faults:
        name, _, rest = fault.cell.partition("/")
        if rest.partition("/")[0] != target or not name.lower().startswith(_FREEZING):
            continue
        if fault.phase is FaultPhase.BEGIN:
            begun[fault.cell] = fault.at_ns
        elif fault.phase is FaultPhase.END and fault.cell in begun:
            begin_ns = begun.pop(fault.cell)
            end_ns = min(fault.at_ns, begin_ns + FREEZE_SURE_NS)
            windows.append((begin_ns + FREEZE_SETTLES_NS, end_ns))
    return windows
