"""Captures, voids and refunds, each by its own key: their part of I1, I3, I13, I14 and I23."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.checker.asked import FROZEN_STATUSES, Asked, OperationKey
from loadtest.checker.derivation import operation_uuid
from loadtest.checker.findings import Findings, Subject
from loadtest.checker.joined import Joined, Op, id_of
from loadtest.checker.records import EventType, OperationRecord

REUSED = "idempotency_key_reused"
# A replay is told from a first use by its time of acceptance, in milliseconds.
SAME_MOMENT_NS = 2_000_000


def acknowledged_operations_are_kept(joined: Joined, found: Findings) -> None:
    """I1: each answer that took an operation in is one row of the books, with the same request."""
    asked = Asked(joined)
    rows = asked.rows()
    for name, ops in asked.operations.items():
        for op in ops:
            if op.is_acknowledged:
                wrong = _loss(joined, op, rows.get(name, ()))
                found.check(wrong is None, f"{_told(name)}: {wrong}", Subject(key=name.of_payment))


def _loss(joined: Joined, op: Op, rows: Sequence[OperationRecord]) -> str | None:
    assert op.end is not None
    answered = f"#{op.invoke.op} was answered {op.end.status}"
    if len(rows) != 1:
        return f"{answered}, and the books hold {len(rows)} of it"
    if rows[0].fingerprint == op.invoke.fingerprint:
        return None
    refused = joined.refused.get(rows[0].operation_uuid, ())
    if op.end.is_deferred and op.invoke.fingerprint in refused:
        return None
    return f"{answered}, and the books hold another request under its key"


def no_operation_without_a_request(joined: Joined, found: Findings) -> None:
    """I3: each operation of the books was asked for, by a request that may have had an effect."""
    asked = Asked(joined)
    for name, rows in asked.rows().items():
        if name.merchant not in joined.merchants:
            continue
        made = {
            op.invoke.fingerprint
            for op in asked.operations.get(name, ())
            if op.type is not EventType.FAIL
        }
        for row in rows:
            found.check(
                row.fingerprint in made,
                f"{_told(name)} is in the books as {id_of(row)}, and no request that may have run"
                " asked for it",
                Subject(key=name.of_payment, order=id_of(row)),
            )


def one_operation_one_answer(joined: Joined, found: Findings) -> None:
    """I13: the same request gets the same frozen bytes, which are true; another one is refused."""
    asked = Asked(joined)
    rows = asked.rows()
    for name, ops in asked.operations.items():
        of_books = rows.get(name, ())
        first: Op | None = None
        for op in ops:
            wrong = _wrong_answer(joined, asked, op, ops, of_books)
            if _is_frozen(op):
                first = first or op
                wrong = wrong or _other_bytes(first, op)
            found.check(wrong is None, f"{_told(name)}: {wrong}", Subject(key=name.of_payment))


def _is_frozen(op: Op) -> bool:
    return op.is_acknowledged and op.end is not None and op.end.status in FROZEN_STATUSES


def _other_bytes(first: Op, op: Op) -> str | None:
    assert first.end is not None
    assert op.end is not None
    was, now = first.end, op.end
    if (was.status, was.body_sha256) == (now.status, now.body_sha256):
        return None
    return (
        f"#{first.invoke.op} and #{op.invoke.op} got two frozen answers, {was.status} and"
        f" {now.status}, of different bytes"
    )


def _wrong_answer(
    joined: Joined, asked: Asked, op: Op, ops: Sequence[Op], rows: Sequence[OperationRecord]
) -> str | None:
    if op.end is None:
        return None
    name = f"#{op.invoke.op}"
    if op.is_acknowledged:
        if len(rows) != 1 or op.end.is_deferred:
            return None
        if op.invoke.fingerprint != rows[0].fingerprint:
            return f"{name} is another request than the books', and was answered {op.end.status}"
        return _misstated(asked, op, rows[0])
    if joined.document(op.end).get("code") != REUSED:
        return None
    if all(other.invoke.fingerprint == op.invoke.fingerprint for other in ops):
        return f"{name} was refused as another request, and there never was another one"
    return None


def _misstated(asked: Asked, op: Op, row: OperationRecord) -> str | None:
    """Return what an answer says otherwise than the books, or None."""
    assert op.end is not None
    shown = asked.shown(op)
    amount_minor = shown.get("amount")
    if shown and amount_minor is not None and amount_minor != row.amount_minor:
        return f"#{op.invoke.op} shows {amount_minor}, and the books hold {row.amount_minor}"
    if not _is_frozen(op):
        return None
    is_done = asked.is_done(row)
    if is_done is None:
        return f"#{op.invoke.op} got a frozen answer, and the operation has not ended"
    if is_done != (op.end.status == 201):
        said = "was" if is_done else "was not"
        return f"#{op.invoke.op} was answered {op.end.status}, and by the books it {said} done"
    return None


def operations_have_their_own_identity(joined: Joined, found: Findings) -> None:
    """I14: an operation's identity follows from its payment, its kind and its key, and no two share it."""
    for name, rows in Asked(joined).rows().items():
        payment = joined.order_by_id[rows[0].partition_index, rows[0].payment_no]
        wanted = operation_uuid(payment.order_uuid, name.kind, name.key)
        found.check(
            len(rows) == 1 and rows[0].operation_uuid == wanted,
            f"{_told(name)} is in the books as {[row.operation_uuid for row in rows]}, not once as"
            f" {wanted}",
            Subject(key=name.of_payment),
        )


def operations_are_never_new_again(joined: Joined, found: Findings) -> None:
    """I23: a request that was acknowledged once is a replay from then on."""
    for name, ops in Asked(joined).operations.items():
        told_ns: dict[str, int] = {}
        for op in ops:
            if op.is_acknowledged and op.end is not None and not op.end.is_deferred:
                made = op.invoke.fingerprint
                told_ns[made] = min(op.end.at_ns, told_ns.get(made, op.end.at_ns))
        for op in ops:
            since_ns = told_ns.get(op.invoke.fingerprint)
            if op.end is None or since_ns is None or not op.is_acknowledged or op.end.is_deferred:
                continue
            if op.invoke.at_ns > since_ns + SAME_MOMENT_NS:
                found.check(
                    op.end.is_replayed,
                    f"{_told(name)}: #{op.invoke.op} was taken for a first use ({op.end.status}),"
                    " and the very same had been acknowledged before",
                    Subject(key=name.of_payment),
                )


def _told(name: OperationKey) -> str:
    return f"{name.kind} {name.key} of {name.merchant} {name.payment}"
