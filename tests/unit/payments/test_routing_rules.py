"""One routing rule: what it matches, and in which order it has its PSPs asked."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

import pytest

from payments.mode import Mode
from payments.routing import Ask, Cost, Route
from payments.routing_rules import Preference, RoutingRule, ranked

ASK = Ask("tok_1", "EUR", 1_000, "m_shop", Mode.TEST, UUID(int=7))


def a_rule(**changes: Any) -> RoutingRule:
    return RoutingRule(**{"name": "r", "psps": ("a", "b", "c"), **changes})


def a_route(name: str, cost: Cost = Cost()) -> Route:  # noqa: B008  # a value
    return Route(name, ("tok_",), None, {}, cost=cost)


def names(routes: list[Route]) -> list[str]:
    return [route.psp for route in routes]


@pytest.mark.parametrize(
    ("changes", "mismatch"),
    [
        ({}, None),
        ({"currencies": frozenset({"EUR", "USD"})}, None),
        ({"currencies": frozenset({"USD"})}, "currency EUR is not among USD"),
        ({"amount_min": 1_001}, "the amount 1000 is below 1001"),
        ({"amount_max": 999}, "the amount 1000 is above 999"),
        ({"amount_min": 1_000, "amount_max": 1_000}, None),
        ({"merchants": frozenset({"m_other"})}, "merchant m_shop is not among those of the rule"),
        ({"merchants": frozenset({"m_shop"})}, None),
        ({"token_prefixes": ("pm_", "card_")}, "the token begins with none of pm_, card_"),
        ({"token_prefixes": ("pm_", "tok_")}, None),
    ],
)
def test_a_rule_says_what_it_does_not_match(changes: Any, mismatch: str | None) -> None:
    """Every condition counts; one that is left out matches everything."""
    assert a_rule(**changes).mismatch(ASK) == mismatch


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"psps": ()}, "psps must name"),
        ({"psps": ("a", "a")}, "each of them once"),
        ({"weights": (1, 2, 3)}, "weights go with"),
        ({"prefer": Preference.WEIGHTED}, "weights go with"),
        ({"prefer": Preference.WEIGHTED, "weights": (1, 2)}, "one each"),
        ({"prefer": Preference.WEIGHTED, "weights": (0, 0, 0)}, "nor all zero"),
        ({"prefer": Preference.WEIGHTED, "weights": (1, -1, 1)}, "below zero"),
        ({"amount_min": 5, "amount_max": 4}, "amount_max=4 is below"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(changes: Any, reason: str) -> None:
    """The message names the rule and what does not fit."""
    with pytest.raises(ValueError, match=reason) as refused:
        a_rule(**changes)
    assert "'r'" in str(refused.value)


def test_the_cheapest_is_asked_first() -> None:
    """A fixed part weighs on small amounts, a share on large ones; equal ones stay as they are listed."""
    fixed, share = a_route("a", Cost(0, {"EUR": 30})), a_route("b", Cost(200))
    rule = a_rule(psps=("a", "b", "c"), prefer=Preference.CHEAPEST)
    routes = [fixed, share, a_route("c", Cost(200))]
    assert names(ranked(rule, routes, ASK, {})) == ["b", "c", "a"]
    large = ASK._replace(amount_minor=2_000)
    assert names(ranked(rule, routes, large, {})) == ["a", "b", "c"]


def test_weights_are_drawn_from_the_orders_own_id() -> None:
    """The same order is always drawn the same, and many of them in the parts of the weights."""
    rule = a_rule(prefer=Preference.WEIGHTED, weights=(7, 3, 0))
    routes = [a_route(name) for name in rule.psps]
    drawn = Counter[str]()
    for number in range(2_000):
        ask = ASK._replace(order_uuid=UUID(int=number))
        order = names(ranked(rule, routes, ask, {}))
        assert order == names(ranked(rule, routes, ask, {}))
        assert sorted(order) == ["a", "b", "c"]
        assert order[-1] == "c"
        drawn[order[0]] += 1
    assert 1_300 < drawn["a"] < 1_500
    assert drawn["a"] + drawn["b"] == 2_000


def test_who_does_badly_is_asked_last() -> None:
    """Below the share that the rule wants; of whom nothing is known, nothing bad is thought."""
    rule = a_rule(success_percent_min=80)
    routes = [a_route(name) for name in rule.psps]
    assert names(ranked(rule, routes, ASK, {"a": 79, "b": 80})) == ["b", "c", "a"]
    assert names(ranked(rule, routes, ASK, {})) == ["a", "b", "c"]
