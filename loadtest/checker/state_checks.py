"""How orders live and end: I2, I19 and I26."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loadtest.checker.findings import Findings, Subject
from loadtest.checker.joined import Joined, id_of, key_of
from loadtest.checker.records import (
    EventRecord,
    EventType,
    OperationRecord,
    OrderRecord,
    OutcomeRecord,
)

TERMINAL = frozenset({"succeeded", "failed", "canceled", "expired"})
HELD = "requires_capture"
# What waits for the storefront rests as well as what has ended.
_AT_REST = TERMINAL | {HELD, "partially_captured"}

# The published states, told once more: what is not here can't happen.
_NEXT: Mapping[str, frozenset[str]] = {
    "": frozenset({"created"}),
    "processing": frozenset({"requires_action", "requires_capture", *TERMINAL}),
    "requires_action": frozenset({"processing", "requires_capture", *TERMINAL}),
    "requires_capture": frozenset({"succeeded", "partially_captured", "canceled", "expired"}),
    "partially_captured": frozenset({"partially_captured", "succeeded"}),
    **{state: frozenset() for state in TERMINAL},
}
_EVENT_PREFIX = "payment_order."


def one_end_by_a_known_path(joined: Joined, found: Findings) -> None:
    """I2: each order is open or has ended, once, and its events are a path of the published states."""
    for order in joined.records.orders:
        wrong = _wrong_life(joined, order)
        found.check(
            wrong is None,
            f"order {id_of(order)} ({order.merchant} {order.key}) {wrong}",
            Subject(order=id_of(order)),
        )
    for operation in joined.records.operations:
        wrong = _wrong_operation(joined, operation)
        found.check(
            wrong is None,
            f"{operation.kind} {id_of(operation)} {wrong}",
            Subject(order=id_of(operation)),
        )
    for here in joined.outcomes.keys() | joined.open_orders.keys():
        found.check(
            here in joined.order_by_id or here in joined.operation_by_id,
            f"order {here} is open or has ended, and there is no such order",
            Subject(order=here),
        )


def _wrong_life(joined: Joined, order: OrderRecord) -> str | None:
    here = id_of(order)
    outcomes = joined.outcomes.get(here, ())
    waiting = joined.open_orders.get(here, ())
    if len(outcomes) + len(waiting) != 1:
        return f"has {len(outcomes)} ends, and is open {len(waiting)} times"
    if outcomes and (wrong := _wrong_end(order, outcomes[0])) is not None:
        return wrong
    state, wrong = _path(joined.events.get(here, ()))
    if wrong is not None:
        return wrong
    wanted = outcomes[0].status if outcomes else waiting[0].status
    if wanted == HELD:
        # Its answer froze there; what it became is told by operations, and looked at with holds.
        return None if HELD in _states(joined.events.get(here, ())) else f"was never {HELD}"
    if state and state != wanted:
        return f"is {wanted}, and its events lead to {state}"
    return None


def _wrong_operation(joined: Joined, operation: OperationRecord) -> str | None:
    here = id_of(operation)
    if (operation.partition_index, operation.payment_no) not in joined.order_by_id:
        return "is of a payment that is not there"
    outcomes, waiting = joined.outcomes.get(here, ()), joined.open_orders.get(here, ())
    if len(outcomes) + len(waiting) != 1:
        return f"has {len(outcomes)} ends, and is open {len(waiting)} times"
    told = [event.type for event in joined.events.get(here, ())]
    wanted = [f"{operation.kind}.created"]
    if outcomes:
        is_done = outcomes[0].status == "succeeded"
        wanted.append(f"{operation.kind}.{'succeeded' if is_done else 'failed'}")
    return None if told == wanted else f"has events {told}"


def _states(events: Sequence[EventRecord]) -> set[str]:
    return {event.type.removeprefix(_EVENT_PREFIX) for event in events}


def _wrong_end(order: OrderRecord, outcome: OutcomeRecord) -> str | None:
    if outcome.status not in TERMINAL and outcome.status != HELD:
        return f"ended as {outcome.status}, which is no end"
    captured_minor = order.amount_minor if outcome.status == "succeeded" else 0
    wanted = (captured_minor, order.fee_minor, order.currency)
    got = (outcome.amount_captured_minor, outcome.fee_minor, outcome.currency)
    return None if got == wanted else f"ended with {got} instead of {wanted}"


def _path(events: Sequence[EventRecord]) -> tuple[str, str | None]:
    """Follow an order's events; return where they lead, and what is wrong with the way."""
    state = ""
    for event in events:
        name = event.type.removeprefix(_EVENT_PREFIX)
        if name not in _NEXT[state]:
            return state, f"was {state or 'nothing'} when {event.type} happened to it"
        state = "processing" if name == "created" else name
    return state, None


def one_event_a_change(joined: Joined, found: Findings) -> None:
    """I19: each change of state has one event, without gaps, of the transaction that made it."""
    for order in joined.records.orders:
        here = id_of(order)
        outcomes = joined.outcomes.get(here, ())
        wrong = _wrong_events(joined.events.get(here, ()), outcomes[0] if outcomes else None)
        found.check(
            wrong is None,
            f"order {here} ({order.merchant} {order.key}) {wrong}",
            Subject(order=here),
        )
    for event in joined.records.events:
        known = (joined.order_by_id, joined.operation_by_id, joined.dispute_by_id)
        if not any(id_of(event) in rows for rows in known):
            found.check(
                False,
                f"event {event} is of an order that is not there",
                Subject(order=id_of(event)),
            )


def _wrong_events(events: Sequence[EventRecord], outcome: OutcomeRecord | None) -> str | None:
    sequences = [event.sequence for event in events]
    if not sequences:
        return "has no event"
    if sequences != list(range(1, len(events) + 1)):
        return f"has events {sequences}"
    batches = [event.batch_seq for event in events]
    if batches != sorted(batches):
        return f"has events of batches {batches}, in this order"
    if outcome is None:
        return None
    # What follows the moment at which its answer froze is of operations.
    has_frozen = outcome.status == HELD and 0 < outcome.event_sequence <= len(events)
    last = events[outcome.event_sequence - 1] if has_frozen else events[-1]
    if last.type != f"{_EVENT_PREFIX}{outcome.status}":
        return f"is {outcome.status}, and its last event is {last.type}"
    if last.sequence != outcome.event_sequence:
        return f"ended with event {outcome.event_sequence}, and its last one is {last.sequence}"
    if last.batch_seq != outcome.batch_seq:
        return f"ended in batch {outcome.batch_seq}, and its event is of batch {last.batch_seq}"
    return None


def nothing_stays_open(joined: Joined, found: Findings) -> None:
    """I26: once faults have ended and time has passed, only what a person has to decide is open."""
    if not joined.records.run.quiesced_ns:
        found.unknown = "the run did not wait for quiescence"
        return
    for order in joined.records.orders:
        waiting = joined.open_orders.get(id_of(order), ())
        stuck = [row for row in waiting if not row.reason]
        found.check(
            not stuck,
            f"order {id_of(order)} ({order.merchant} {order.key}) is still open, without a reason"
            " for a person",
            Subject(order=id_of(order)),
        )
    for operation in joined.records.operations:
        waiting = joined.open_orders.get(id_of(operation), ())
        found.check(
            all(row.reason for row in waiting),
            f"{operation.kind} {id_of(operation)} is still open, without a reason for a person",
            Subject(order=id_of(operation)),
        )
    for op in joined.ops:
        if op.end is None:
            found.check(False, f"#{op.invoke.op} never ended", Subject(key=key_of(op.invoke)))
    for key, ops in joined.gets.items():
        last = ops[-1]
        reads = [row for row in joined.orders_by_key.get(key, ()) if id_of(row) in joined.outcomes]
        if last.end is None or last.type is not EventType.OK or not reads:
            continue
        shown = joined.shown(last.end).get("status")
        is_final_read = last.invoke.at_ns >= joined.records.run.quiesced_ns
        if is_final_read and shown is not None:
            found.check(
                shown in _AT_REST,
                f"{key[0]} {key[2]}: the last read, #{last.invoke.op}, shows {shown!r}, and the"
                " order has ended",
                Subject(key=key),
            )
