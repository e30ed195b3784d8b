"""Holds and refunds: I10 and I11, from the transfers and operations as they followed each other."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.checker.findings import Findings, Subject
from loadtest.checker.joined import Joined, id_of
from loadtest.checker.records import OrderId, OrderRecord, TransferRecord
from loadtest.checker.state_checks import HELD

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
        captured_minor = refunded_minor = 0
        for row in _moved(joined, payment):
            captured_minor += row.amount_minor if row.kind in ("charge", "capture") else 0
            refunded_minor += row.amount_minor if row.kind == "refund" else 0
            found.check(
                refunded_minor <= captured_minor,
                f"order {payment} had refunded {refunded_minor} of {captured_minor} by batch"
                f" {row.batch_seq}",
                Subject(order=payment),
            )
        in_flight_minor = sum(
            row.amount_minor for row in refunds if id_of(row) in joined.open_orders
        )
        found.check(
            refunded_minor + in_flight_minor <= captured_minor,
            f"order {payment} has refunded {refunded_minor}, and {in_flight_minor} are in flight,"
            f" of {captured_minor}",
            Subject(order=payment),
        )
        found.check(
            refunded_minor == joined.done(payment, "refund"),
            f"order {payment} moved {refunded_minor} back, and its refunds come to"
            f" {joined.done(payment, 'refund')}",
            Subject(order=payment),
        )


def _moved(joined: Joined, payment: OrderId) -> list[TransferRecord]:
    """The transfers of a payment and of the operations on it, in the order in which they were written."""
    places = [payment, *(id_of(row) for row in joined.operations.get(payment, ()))]
    rows = [row for place in places for row in joined.transfers.get(place, ())]
    return sorted(rows, key=lambda row: (row.batch_seq, row.order_no, row.step))
