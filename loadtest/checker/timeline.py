"""Timelines: what all records say around a counter-example, in one order that a person can read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from loadtest.checker.findings import Subject
from loadtest.checker.joined import Joined, Op, id_of
from loadtest.checker.records import ClientEvent, ClientKey, FaultPhase, OrderId, OrderRecord
from loadtest.checker.report import TimelineLine

# Faults so long before and after what the clients did belong to the picture.
AROUND_NS = 5_000_000_000
# A screen: the first and the last so many lines are shown.
LINES_MAX = 60
BODY_CHARACTERS_MAX = 160
BATCHES_AROUND = 10


def timeline_around(joined: Joined, subject: Subject) -> tuple[TimelineLine, ...]:
    """Return everything that the records say about a subject, by time; the timeless comes last."""
    orders = _orders(joined, subject)
    keys = {(order.merchant, order.mode, order.key) for order in orders}
    if subject.key is not None:
        keys.add(subject.key)
    # A partition holds too many orders to tell of each.
    if subject.order is None and subject.key is None and subject.psp_key is None:
        orders, keys = [], set()
    ops = [
        op for key in sorted(keys) for op in (*joined.posts.get(key, ()), *joined.gets.get(key, ()))
    ]
    ops += [op for op in joined.ops if _is_about(op.invoke, keys)]
    lines = [
        *_of_clients(joined, ops),
        *_of_charges(joined, subject, orders),
        *_of_ledger(joined, subject, orders),
        *_of_faults(joined, ops),
    ]
    lines.sort(key=lambda line: (line.at_ms is None, line.at_ms or 0.0))
    return _shortened(lines)


def _is_about(sent: ClientEvent, keys: Collection[ClientKey]) -> bool:
    """Whether something else than a payment's own requests is about one of the keys."""
    named = (sent.payment, sent.key if sent.orders else "", *(order.key for order in sent.orders))
    return any((sent.merchant, sent.mode, key) in keys for key in named if key)


def _orders(joined: Joined, subject: Subject) -> list[OrderRecord]:
    found: dict[tuple[int, int], OrderRecord] = {}
    if subject.key is not None:
        found |= {id_of(row): row for row in joined.orders_by_key.get(subject.key, ())}
    ids = [] if subject.order is None else [subject.order]
    ids += [id_of(row) for row in joined.attempt_by_key.get(subject.psp_key or "", ())]
    # An operation is told of with its payment.
    done = {each: joined.operation_by_id[each] for each in ids if each in joined.operation_by_id}
    ids += [(each[0], row.payment_no) for each, row in done.items()]
    found |= {each: joined.order_by_id[each] for each in ids if each in joined.order_by_id}
    return list(found.values())


def _of_clients(joined: Joined, ops: Iterable[Op]) -> Iterator[TimelineLine]:
    for op in ops:
        sent = op.invoke
        name = f"#{sent.op} {sent.kind} {sent.merchant} {sent.key}"
        asked = (
            f" {sent.amount_minor} {sent.currency} {sent.token} fingerprint {sent.fingerprint[:10]}"
            if sent.fingerprint
            else ""
        )
        yield TimelineLine(_since(joined, sent.at_ns), "client", f"{name} sent{asked}")
        if op.end is None:
            continue
        answer = f"{op.end.status}" if op.end.status else op.end.error or "no answer"
        flags = f"{' replayed' * op.end.is_replayed}{' deferred' * op.end.is_deferred}"
        body = op.end.body[:BODY_CHARACTERS_MAX] or f"body {op.end.body_sha256[:10]}"
        yield TimelineLine(
            _since(joined, op.end.at_ns), "client", f"{name} {op.end.type}: {answer}{flags} {body}"
        )


def _of_ledger(
    joined: Joined, subject: Subject, orders: Iterable[OrderRecord]
) -> Iterator[TimelineLine]:
    for order in orders:
        here = id_of(order)
        yield TimelineLine(
            _since_unix(joined, order.taken_in_unix_ns),
            "ledger",
            f"order {here} of {order.merchant} {order.key} taken in: {order.amount_minor}"
            f" {order.currency} fingerprint {order.fingerprint[:10]}",
        )
        yield from _of_rows(joined, here)
        for operation in joined.operations.get(here, ()):
            yield TimelineLine(
                None,
                "ledger",
                f"{operation.kind} {id_of(operation)} of {here}: {operation.amount_minor}, key"
                f" {operation.key} fingerprint {operation.fingerprint[:10]}",
            )
            yield from _of_rows(joined, id_of(operation))
    if subject.partition_index is not None:
        around = subject.batch_seq
        for batch in joined.batches.get(subject.partition_index, ()):
            if around is not None and abs(batch.batch_seq - around) > BATCHES_AROUND:
                continue
            yield TimelineLine(
                None,
                "ledger",
                f"partition {batch.partition_index}: batch {batch.batch_seq} under epoch"
                f" {batch.epoch}, line {batch.ledger_batch_no}",
            )


def _of_rows(joined: Joined, here: OrderId) -> Iterator[TimelineLine]:
    """What the books hold under one number: an order's, or an operation's."""
    for attempt in joined.attempts.get(here, ()):
        yield TimelineLine(
            None,
            "ledger",
            f"attempt {attempt.attempt_no} of {here} at {attempt.psp}, epoch {attempt.epoch},"
            f" key {attempt.psp_key}",
        )
    for outcome in joined.outcomes.get(here, ()):
        yield TimelineLine(
            _since_unix(joined, outcome.recorded_unix_ns),
            "ledger",
            f"{here} ended {outcome.status} by attempt {outcome.attempt_no} at {outcome.psp}"
            f" ({outcome.psp_reference}), batch {outcome.batch_seq}",
        )
    for waiting in joined.open_orders.get(here, ()):
        yield TimelineLine(
            None, "ledger", f"{here} is open: {waiting.status} {waiting.reason}".rstrip()
        )
    for event in joined.events.get(here, ()):
        yield TimelineLine(
            None,
            "ledger",
            f"event {event.sequence} of {here}: {event.type}, batch {event.batch_seq}",
        )
    for moved in joined.transfers.get(here, ()):
        yield TimelineLine(
            None,
            "ledger",
            f"transfer {moved.step} of {here}: {moved.kind} {moved.amount_minor}"
            f" {moved.currency}, account {moved.debit_account_no} to"
            f" {moved.credit_account_no}, batch {moved.batch_seq}",
        )


def _of_charges(
    joined: Joined, subject: Subject, orders: Iterable[OrderRecord]
) -> Iterator[TimelineLine]:
    keys = {
        attempt.psp_key for order in orders for attempt in joined.attempts.get(id_of(order), ())
    }
    if subject.psp_key is not None:
        keys.add(subject.psp_key)
    names = {order.key for order in orders}
    if subject.key is not None:
        names.add(subject.key[2])
    for charge in joined.records.charges:
        if charge.psp_key in keys or charge.order_key in names:
            yield TimelineLine(
                _since_unix(joined, charge.at_unix_ns),
                "psp",
                f"{charge.psp}: {charge.reference} {charge.status} {charge.captured_minor} of"
                f" {charge.amount_minor} {charge.currency} for {charge.order_key},"
                f" key {charge.psp_key}",
            )


def _of_faults(joined: Joined, ops: Iterable[Op]) -> Iterator[TimelineLine]:
    times = [op.invoke.at_ns for op in ops] + [op.end.at_ns for op in ops if op.end is not None]
    if not times:
        return
    first, last = min(times) - AROUND_NS, max(times) + AROUND_NS
    for fault in joined.records.faults:
        if first <= fault.at_ns <= last and fault.phase is not FaultPhase.SKIPPED:
            yield TimelineLine(_since(joined, fault.at_ns), "fault", f"{fault.cell} {fault.phase}s")


def _since(joined: Joined, at_ns: int) -> float:
    return round((at_ns - _began_ns(joined)) / 1e6, 3)


def _since_unix(joined: Joined, at_unix_ns: int) -> float | None:
    """Return the same for a time of the ledger's or a PSP's clock, where it can be compared."""
    offset_ns = joined.records.run.unix_less_monotonic_ns
    if not at_unix_ns or not offset_ns:
        return None
    return _since(joined, at_unix_ns - offset_ns)


def _began_ns(joined: Joined) -> int:
    began_ns = joined.records.run.started_ns
    if not began_ns and joined.records.history:
        began_ns = joined.records.history[0].at_ns
    return began_ns


def _shortened(lines: list[TimelineLine]) -> tuple[TimelineLine, ...]:
    if len(lines) <= LINES_MAX:
        return tuple(lines)
    half = LINES_MAX // 2
    left_out = TimelineLine(None, "checker", f"({len(lines) - 2 * half} lines left out)")
    return (*lines[:half], left_out, *lines[-half:])
