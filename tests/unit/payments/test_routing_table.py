"""All routing rules together: who is asked first, and why."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.defects import InvariantViolation
from payments.mode import Mode
from payments.routing import Ask, Cost, Route
from payments.routing_rules import Preference, RoutingRule
from payments.routing_table import RoutingTable

NAMES = ("a", "b", "c")
ROUTES = (
    Route("a", ("tok_",), None, {}, cost=Cost(290, {"EUR": 30})),
    Route("b", ("tok_", "pm_"), frozenset({"EUR", "USD"}), {"EUR": 100}, cost=Cost(140)),
    Route("c", ("pm_",), None, {}, mode=Mode.LIVE),
)
ASK = Ask("tok_1", "EUR", 1_000, "m_shop", Mode.TEST, UUID(int=7))


def euros(*psps: str, is_only: bool = False) -> RoutingRule:
    return RoutingRule(name="euros", psps=psps, currencies=frozenset({"EUR"}), is_only=is_only)


def test_without_rules_the_configuration_decides() -> None:
    """The first that can use the order, as ever; an order that nobody can use is the first one's to refuse."""
    table = RoutingTable(ROUTES)
    assert table.first(ASK) == table.home(ASK) == "a"
    assert table.first(ASK, avoiding={"a"}) == "b"
    nobodys = ASK._replace(token="src_1")
    assert table.first(nobodys) is None
    assert table.home(nobodys) == "a"


def test_the_first_rule_that_matches_decides() -> None:
    """What it names comes first, what it does not name behind."""
    small = RoutingRule(name="small", psps=("a",), amount_max=999)
    table = RoutingTable(ROUTES, [small, euros("b")])
    assert table.first(ASK) == "b"
    assert table.first(ASK, avoiding={"b"}) == "a"
    assert table.first(ASK._replace(amount_minor=999)) == "a"
    assert table.first(ASK._replace(currency="USD")) == "a"


def test_only_means_only_while_one_of_them_can() -> None:
    """Nobody else is asked; but a rule none of whose PSPs can use the order is none for it."""
    table = RoutingTable(ROUTES, [euros("b", is_only=True)])
    assert table.first(ASK, avoiding={"b"}) is None
    assert table.home(ASK) == "b"
    # Below what b takes.
    assert table.first(ASK._replace(amount_minor=99)) == "a"


def test_the_cheapest_of_all_may_be_what_counts() -> None:
    """Where no rule matches, and behind what a rule names."""
    table = RoutingTable(ROUTES, prefer=Preference.CHEAPEST)
    assert table.first(ASK) == "b"
    assert table.first(ASK._replace(currency="JPY")) == "a"


def test_a_rule_of_an_unknown_psp_is_a_defect() -> None:
    """The configuration is checked before; here nothing may be passed over."""
    with pytest.raises(InvariantViolation, match="names 'x'"):
        RoutingTable(ROUTES, [euros("x")])
    with pytest.raises(InvariantViolation, match="no PSP"):
        RoutingTable([])


def test_an_explanation_names_each_rule_and_each_psp() -> None:
    """Which rule decides, why the others don't, who is asked in which order, and who is not."""
    rules = [
        RoutingRule(name="yen", psps=("a",), currencies=frozenset({"JPY"})),
        euros("b", "a"),
        RoutingRule(name="rest", psps=("a",)),
    ]
    told = RoutingTable(ROUTES, rules).explain(ASK, avoiding={"b"})
    assert [(rule.rule, rule.has_matched, rule.decides) for rule in told.rules] == [
        ("yen", False, False),
        ("euros", True, True),
        ("rest", True, False),
    ]
    assert told.rules[0].why == "currency EUR is not among JPY"
    assert [(said.psp, said.place) for said in told.psps] == [("a", 1), ("b", None), ("c", None)]
    assert told.psps[1].why == "its breaker lets no new order through"
    assert told.psps[2].why == "it can't use such a token"
    assert told.psps[0].cost_ten_thousandths == 1_000 * 290 + 300_000


asks = st.builds(
    Ask,
    token=st.sampled_from(["tok_1", "pm_1", "src_1"]),
    currency=st.sampled_from(["EUR", "USD", "JPY"]),
    amount_minor=st.sampled_from([1, 99, 100, 5_000]),
    merchant_id=st.sampled_from(["m_1", "m_2"]),
    mode=st.sampled_from(Mode),
    order_uuid=st.uuids(),
)


@st.composite
def rules(draw: st.DrawFn) -> RoutingRule:
    psps = tuple(draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True)))
    prefer = draw(st.sampled_from(Preference))
    weights = draw(st.lists(st.integers(0, 9), min_size=len(psps), max_size=len(psps)))
    if prefer is Preference.WEIGHTED and not any(weights):
        weights[0] = 1
    return RoutingRule(
        name="drawn",
        psps=psps,
        prefer=prefer,
        weights=tuple(weights) if prefer is Preference.WEIGHTED else (),
        currencies=draw(st.sampled_from([frozenset(), frozenset({"EUR"})])),
        amount_max=draw(st.sampled_from([None, 99])),
        merchants=draw(st.sampled_from([frozenset(), frozenset({"m_1"})])),
        token_prefixes=draw(st.sampled_from([(), ("pm_",)])),
        is_only=draw(st.booleans()),
        success_percent_min=draw(st.sampled_from([0, 50])),
    )


@given(
    ask=asks,
    drawn=st.lists(rules(), max_size=4),
    prefer=st.sampled_from([Preference.LISTED, Preference.CHEAPEST]),
    avoiding=st.frozensets(st.sampled_from(NAMES)),
    percents=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 100)),
)
def test_no_token_goes_where_it_can_not_be_used(
    ask: Ask,
    drawn: list[RoutingRule],
    prefer: Preference,
    avoiding: frozenset[str],
    percents: Mapping[str, int],
) -> None:
    """Whatever the rules say, who is asked can use the order and is not avoided; while anybody can use it,
    so can its home; the same inputs give the same answer, and the explanation says the same.
    """
    table = RoutingTable(ROUTES, drawn, prefer=prefer)
    by_name = {route.psp: route for route in ROUTES}
    assert all(route.can_take(ask) == (route.obstacle(ask) is None) for route in ROUTES)
    first = table.first(ask, avoiding=avoiding, success_percents=percents)
    assert first == table.first(ask, avoiding=avoiding, success_percents=percents)
    if first is not None:
        assert first not in avoiding
        assert by_name[first].can_take(ask)
    if any(route.can_take(ask) for route in ROUTES):
        assert by_name[table.home(ask)].can_take(ask)
    told = table.explain(ask, avoiding=avoiding, success_percents=percents)
    asked = [said.psp for said in told.psps if said.place is not None]
    assert asked[:1] == ([] if first is None else [first])
    assert {said.psp for said in told.psps} == set(NAMES)
    assert sum(rule.decides for rule in told.rules) <= 1
