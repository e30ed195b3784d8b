"""Holds and refunds: I10 and I11, from the transfers and operations as they followed each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from loadtest.checker.findings import Findings, Subject
from loadtest.checker.joined import Joined, grouped, id_of
from loadtest.checker.records import OperationRecord, OrderId, OrderRecord, TransferRecord
from loadtest.checker.state_checks import HELD

VOIDED = "voided"
_CAPTURING = frozenset({"charge", "capture"})
_ENDS = frozenset({"succeeded", "canceled", "expired"})
_EVENT_PREFIX = "payment_order."


def each_hold_ends_once(joined: Joined, found: Findings) -> None:
    """I10: what is authorized is captured, in parts or whole, and the rest given back once; at no time is
    more captured or given back than was held.
    """
    for order in joined.records.orders:
        here = id_of(order)
        outcomes = joined.outcomes.get(here, ())
        is_held = bool(outcomes) and outcomes[0].status == HELD
        moved = _moved(joined, here)
        held = [row for row in moved if row.kind in ("authorization", "capture", "release")]
        if here in joined.splits:
            held = _whole(held)
        if not is_held and not held:
            continue
        wrong = _wrong_hold(joined, order, held) if is_held else "moved a hold, and never had one"
        found.check(
            wrong is None,
            f"order {here} ({order.merchant} {order.key}) {wrong}",
            Subject(order=here),
        )


def _wrong_hold(joined: Joined, order: OrderRecord, moved: Sequence[TransferRecord]) -> str | None:
    if not moved or moved[0].kind != "authorization" or moved[0].amount_minor != order.amount_minor:
        return f"holds {order.amount_minor}, and its transfers begin with {moved[:1]}"
    left_minor, captured_minor, releases = order.amount_minor, 0, 0
    for row in moved[1:]:
        if row.kind == "authorization":
            return "was authorized twice"
        if releases:
            return f"moved {row.amount_minor} by {row.kind} after its rest was given back"
        left_minor -= row.amount_minor
        captured_minor += row.amount_minor if row.kind == "capture" else 0
        releases += row.kind == "release"
    if left_minor < 0:
        return f"captured or gave back {-left_minor} more than was held"
    if captured_minor != joined.done(id_of(order), "capture"):
        return f"captured {captured_minor}, and its captures say otherwise"
    states = [
        event.type.removeprefix(_EVENT_PREFIX) for event in joined.events.get(id_of(order), ())
    ]
    is_over = bool(states) and states[-1] in _ENDS
    if is_over != (left_minor == 0):
        return f"holds {left_minor}, and its events lead to {states[-1:]}"
    if is_over and (states[-1] == "succeeded") != (captured_minor > 0):
        return f"captured {captured_minor}, and is {states[-1]}"
    return None


def refunds_never_exceed_captures(joined: Joined, found: Findings) -> None:
    """I11: of no payment is more given back than was captured, those in flight included: not in the books,
    after any batch, and not at the PSP.
    """
    for charge in joined.records.charges:
        if charge.refunded_minor:
            found.check(
                charge.refunded_minor <= charge.captured_minor,
                f"charge {charge.reference} at {charge.psp} refunded {charge.refunded_minor} of"
                f" {charge.captured_minor}",
                Subject(psp_key=charge.psp_key),
            )
    for payment, operations in joined.operations.items():
        refunds = [row for row in operations if row.kind == "refund"]
        if not refunds:
            continue
        for batch_seq, captured_minor, refunded_minor, in_flight_minor in _refunding(
            joined, payment, refunds
        ):
            found.check(
                refunded_minor + in_flight_minor <= captured_minor,
                f"order {payment} had {refunded_minor} refunded and {in_flight_minor} in flight, of"
                f" {captured_minor} captured, by batch {batch_seq}",
                Subject(order=payment),
            )
        moved_minor = sum(
            row.amount_minor for row in _moved(joined, payment) if row.kind == "refund"
        )
        found.check(
            moved_minor == joined.done(payment, "refund"),
            f"order {payment} moved {moved_minor} back, and its refunds come to"
            f" {joined.done(payment, 'refund')}",
            Subject(order=payment),
        )


def _refunding(
    joined: Joined, payment: OrderId, refunds: Sequence[OperationRecord]
) -> Iterator[tuple[int, int, int, int]]:
    """Yield (batch, captured, refunded, refunds in flight) after each batch that changed one of them."""
    captured: Counter[int] = Counter()
    refunded: Counter[int] = Counter()
    in_flight: Counter[int] = Counter()
    for moved in _moved(joined, payment):
        captured[moved.batch_seq] += moved.amount_minor if moved.kind in _CAPTURING else 0
        refunded[moved.batch_seq] += moved.amount_minor if moved.kind == "refund" else 0
    for refund in refunds:
        events, outcomes = joined.events.get(id_of(refund), ()), joined.outcomes.get(id_of(refund))
        # Where its events are missing, which I2 tells, it is in flight from the beginning on.
        in_flight[events[0].batch_seq if events else 0] += refund.amount_minor
        if outcomes:
            in_flight[outcomes[0].batch_seq] -= refund.amount_minor
    sums = [0, 0, 0]
    for batch_seq in sorted(captured.keys() | in_flight.keys()):
        for place, changes in enumerate((captured, refunded, in_flight)):
            sums[place] += changes[batch_seq]
        yield batch_seq, sums[0], sums[1], sums[2]


def charges_went_back_as_booked(joined: Joined, found: Findings) -> None:
    """I6, of what follows a charge: what the PSP gave back of it is what the books refunded, and what it
    let go of its hold is what they released.
    """
    references = {
        (str(row.psp), str(row.psp_reference)): id_of(row)
        for row in joined.records.outcomes
        if id_of(row) in joined.order_by_id and row.psp_reference is not None
    }
    for charge in joined.records.charges:
        payment = references.get((charge.psp, charge.reference))
        if payment is None or payment not in joined.operations:
            continue
        name = f"charge {charge.reference} at {charge.psp}"
        booked_minor = joined.done(payment, "refund")
        found.check(
            charge.refunded_minor == booked_minor,
            f"{name} gave {charge.refunded_minor} back, and {booked_minor} is booked as refunded",
            Subject(psp_key=charge.psp_key),
        )
        moved = {row.kind for row in _moved(joined, payment)}
        is_released = "release" in moved
        # An order that ended before its buyer acted was never booked as held; its key is canceled, which voids.
        if charge.captured_minor == 0 and "authorization" in moved:
            found.check(
                is_released == (charge.status == VOIDED),
                f"{name} is {charge.status}, and its hold is {'' if is_released else 'not '}booked"
                " as given back",
                Subject(psp_key=charge.psp_key),
            )


def _whole(rows: Sequence[TransferRecord]) -> list[TransferRecord]:
    """Return what several sellers' shares of one step come to: what each has of it is told apart."""
    return [
        shares[0]._replace(amount_minor=sum(row.amount_minor for row in shares))
        for shares in grouped(((row.order_no, row.kind), row) for row in rows).values()
    ]


def _moved(joined: Joined, payment: OrderId) -> list[TransferRecord]:
    """The transfers of a payment and of the operations on it, in the order in which they were written."""
    places = [payment, *(id_of(row) for row in joined.operations.get(payment, ()))]
    rows = [row for place in places for row in joined.transfers.get(place, ())]
    return sorted(rows, key=lambda row: (row.batch_seq, row.order_no, row.step))
