"""One batch's choice among PSPs of which some take nothing, or only a few."""

from __future__ import annotations

from payments.psp_choice import PspChoice
from payments.routing import Availability
from tests.scenario import Psps, an_order


def test_probes_are_counted_within_a_batch() -> None:
    """A PSP that is only being tried again gets that many new orders, and the others go on elsewhere."""
    choice = PspChoice(Psps("a", "b"), Availability(frozenset(), {"a": 2}))
    assert [choice.first(an_order(n)) for n in range(4)] == ["a", "a", "b", "b"]
    assert choice.is_refusing("a")


def test_where_nothing_is_taken_an_order_goes_where_it_belongs() -> None:
    """It has to be somewhere: there it is parked."""
    choice = PspChoice(Psps("a", "b"), Availability(frozenset({"a", "b"}), {}))
    assert choice.first(an_order(1)) == "a"
    assert choice.other_than("a", an_order(1)) is None


def test_another_psp_is_never_the_same() -> None:
    """Even when it is the only one that takes orders."""
    choice = PspChoice(Psps("a", "b"), Availability(frozenset({"b"}), {}))
    assert choice.other_than("a", an_order(1)) is None
    assert choice.other_than("b", an_order(1)) == "a"
