"""The life cycle: what is not in the table can't happen."""

from __future__ import annotations

import pytest

from payments.defects import InvariantViolation
from payments.lifecycle import (
    FREEZING_STATES,
    TERMINAL_STATES,
    TRANSITIONS,
    PaymentEvent,
    PaymentState,
    next_state,
)


@pytest.mark.parametrize("state", PaymentState)
@pytest.mark.parametrize("event", PaymentEvent)
def test_a_step_is_in_the_table_or_a_defect(state: PaymentState, event: PaymentEvent) -> None:
    """Every pair of state and event either leads where the table says or is refused."""
    if event in TRANSITIONS[state]:
        assert next_state(state, event) is TRANSITIONS[state][event]
    else:
        with pytest.raises(InvariantViolation):
            next_state(state, event)


def test_every_state_is_reached_and_can_end() -> None:
    """No state is a dead name, and from each a terminal one can be reached."""
    reached = {PaymentState.CREATED}
    for _ in PaymentState:
        reached |= {after for state in reached for after in TRANSITIONS[state].values()}
    assert reached == set(PaymentState)
    ending = set(TERMINAL_STATES)
    for _ in PaymentState:
        ending |= {state for state in PaymentState if ending & set(TRANSITIONS[state].values())}
    assert ending == set(PaymentState)


def test_an_end_is_an_end() -> None:
    """Nothing leaves a terminal state, and its answer is frozen."""
    assert {"succeeded", "failed", "canceled", "expired"} == {s.wire for s in TERMINAL_STATES}
    assert TERMINAL_STATES < FREEZING_STATES


def test_wire_names_lead_back() -> None:
    """A state's API name names it alone; event types are all different."""
    assert all(PaymentState.from_wire(state.wire) is state for state in PaymentState)
    assert PaymentState.from_wire("paid") is None
    assert len({event.wire for event in PaymentEvent}) == len(PaymentEvent)


def test_stored_numbers_stand() -> None:
    """What the ledger stores is never renumbered."""
    assert [state.value for state in PaymentState] == list(range(1, 10))
    assert [event.value for event in PaymentEvent] == list(range(1, 10))
