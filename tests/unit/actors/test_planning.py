"""Planning: the same attempt is planned the same way by every owner."""

from __future__ import annotations

import pytest

from actors.planning import OrderedPlanner
from payments.defects import InvariantViolation
from payments.identity import psp_key
from payments.psp_terms import PspTerms
from psp.in_process import InProcessPsp
from psp.port import Psp
from tests.manual_clock import ManualClock
from tests.queue_commands import a_command


def psps(*names: str) -> dict[str, Psp]:
    clock = ManualClock()
    return {
        name: InProcessPsp(name=name, account="main", seed=1, clock=clock)
        for name in names or ("one",)
    }


def test_an_attempt_is_fixed_by_the_order_alone() -> None:
    """Key and request bytes depend on order and attempt number, never on the owner."""
    command = a_command()
    first, again = (OrderedPlanner(psps()).plan(command, 3, "one") for _ in range(2))
    assert first == again
    assert first.psp_key == psp_key(command.order_uuid, 3)
    assert (first.psp, first.psp_account) == ("one", "main")


def test_a_psp_that_is_not_configured_promises_nothing() -> None:
    """An order of a PSP that was taken away is not sent anywhere, and ends no host."""
    planner = OrderedPlanner(psps())
    assert planner.terms("one").key_lifetime_s == 24 * 3600
    assert planner.terms("one").replays_declines
    assert planner.terms("gone") == PspTerms()
    with pytest.raises(InvariantViolation):
        OrderedPlanner({})


def test_the_order_of_the_configuration_decides() -> None:
    """The first PSP takes what it can use, unless it is avoided; the token decides who can."""
    planner = OrderedPlanner(psps("one", "two"))
    usable = a_command()._replace(payment_method="tok_approve")
    alien = usable._replace(payment_method="pm_of_somebody_else")
    assert planner.route(usable, avoiding=()) == planner.home(usable) == "one"
    assert planner.route(usable, avoiding={"one"}) == "two"
    assert planner.route(usable, avoiding={"one", "two"}) is None
    assert planner.route(alien, avoiding=()) is None
    assert planner.home(alien) == "one"
