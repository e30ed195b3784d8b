"""Planning: the same attempt is planned the same way by every owner."""

from __future__ import annotations

import pytest

from actors.planning import FixedPlanner
from payments.defects import InvariantViolation
from payments.identity import psp_key
from psp.in_process import InProcessPsp
from psp.port import Psp
from tests.manual_clock import ManualClock
from tests.queue_commands import a_command


def psps() -> dict[str, Psp]:
    psp = InProcessPsp(name="one", account="main", seed=1, clock=ManualClock())
    return {"one": psp}


def test_an_attempt_is_fixed_by_the_order_alone() -> None:
    """Key and request bytes depend on order and attempt number, never on the owner."""
    command = a_command()
    first, again = (FixedPlanner(psps(), "one").plan(command, 3) for _ in range(2))
    assert first == again
    assert first.psp_key == psp_key(command.order_uuid, 3)
    assert (first.psp, first.psp_account) == ("one", "main")


def test_a_psp_that_is_not_configured_remembers_nothing() -> None:
    """An order of a PSP that was taken away is not sent anywhere, and ends no host."""
    planner = FixedPlanner(psps(), "one")
    assert planner.key_lifetime_s("one") == 24 * 3600
    assert planner.key_lifetime_s("gone") == 0
    with pytest.raises(InvariantViolation):
        FixedPlanner(psps(), "gone")
