"""Types of events, and what an endpoint may ask for."""

from __future__ import annotations

import pytest

from payments.defects import InvariantViolation
from payments.disputes import DisputeEvent
from payments.event_types import (
    EVENT_TYPES,
    EVERYTHING,
    PAYMENT_ORDER,
    TYPE_PATTERNS,
    event_type,
    is_wanted,
    wanted_numbers,
)
from payments.lifecycle import PaymentEvent
from payments.operation_kinds import OperationEvent


def test_every_event_of_a_payment_has_a_type() -> None:
    """What a host writes has a name in the API, of the kind of object that it is of."""
    for event in PaymentEvent:
        assert event_type(event).wire == event.wire
        assert event_type(event).object_kind == PAYMENT_ORDER


def test_every_event_of_an_operation_has_a_type() -> None:
    """What is done to a payment is told as of an object of its own."""
    for event in OperationEvent:
        assert event_type(event).wire == event.wire
    assert event_type(OperationEvent.REFUND_SUCCEEDED).object_kind == "refund"
    assert wanted_numbers(["refund.*"]) == {
        OperationEvent.REFUND_CREATED,
        OperationEvent.REFUND_SUCCEEDED,
        OperationEvent.REFUND_FAILED,
    }


def test_every_event_of_a_dispute_has_a_type() -> None:
    """What a bank takes back is told, too."""
    assert wanted_numbers(["dispute.*"]) == set(DisputeEvent)


def test_names_are_unique_and_start_with_their_object() -> None:
    """No two types share a name, and the name says of what the event is."""
    names = [of.wire for of in EVENT_TYPES.values()]
    assert len(set(names)) == len(names)
    assert all(of.wire.startswith(f"{of.object_kind}.") for of in EVENT_TYPES.values())


def test_patterns_ask_for_one_type_for_a_kind_or_for_all() -> None:
    """A name, all of an object, and everything."""
    assert wanted_numbers(["payment_order.succeeded"]) == {PaymentEvent.SUCCEEDED}
    assert wanted_numbers(["payment_order.*"]) >= set(PaymentEvent)
    assert wanted_numbers([EVERYTHING]) == set(EVENT_TYPES)
    assert wanted_numbers(["payment_order.failed", "payment_order.expired"]) == {
        PaymentEvent.DECLINED,
        PaymentEvent.EXPIRED,
    }


def test_a_name_is_wanted_by_the_patterns_that_have_its_number() -> None:
    """Who reads names, as a stream's listener does, goes by the same patterns as endpoints."""
    for pattern, numbers in TYPE_PATTERNS.items():
        names = {of.number for of in EVENT_TYPES.values() if is_wanted(of.wire, [pattern])}
        assert names == numbers, pattern
    assert is_wanted("refund.succeeded", ["payment_order.*", "refund.*"])
    assert not is_wanted("refund.succeeded", [])
    assert wanted_numbers(["a type of an older release"]) == set()
    assert "payment_order.*" in TYPE_PATTERNS


def test_a_type_of_a_newer_release_is_no_event_to_pass_over() -> None:
    """Code that does not know a type stops rather than lose the event."""
    with pytest.raises(InvariantViolation):
        event_type(30_000)
