"""Routing rules as they are configured."""

from __future__ import annotations

import tomllib

import msgspec
import pytest

from payments.routing import Cost
from payments.routing_rules import Preference, RoutingRule
from runtime.psp_config import PspConfig
from runtime.routing_config import RoutingConfig


def test_a_rule_of_the_file_is_the_domains_rule() -> None:
    """Each key has its effect; what is left out matches everything."""
    text = """
    prefer = "cheapest"
    [[rules]]
    name = "euros of the big shop"
    psps = ["a", "b"]
    prefer = "weighted"
    weights = [3, 1]
    currencies = ["EUR"]
    amount_min = 100
    amount_max = 9999
    merchants = ["mrc_big"]
    token_prefixes = ["pm_"]
    only = true
    success_percent_min = 70
    [[rules]]
    name = "rest"
    psps = ["b"]
    """
    routing = msgspec.convert(tomllib.loads(text), RoutingConfig)
    assert routing.prefer is Preference.CHEAPEST
    first, rest = (rule.rule() for rule in routing.rules)
    assert first == RoutingRule(
        name="euros of the big shop",
        psps=("a", "b"),
        prefer=Preference.WEIGHTED,
        weights=(3, 1),
        currencies=frozenset({"EUR"}),
        amount_min=100,
        amount_max=9_999,
        merchants=frozenset({"mrc_big"}),
        token_prefixes=("pm_",),
        is_only=True,
        success_percent_min=70,
    )
    assert rest == RoutingRule(name="rest", psps=("b",), amount_max=2**53 - 1)


RULE = '[[rules]]\nname = "r"\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (RULE, "psps"),
        (RULE + "psps = []", "psps"),
        (RULE + 'psps = ["a", "a"]', "each of them once"),
        (RULE + 'psps = ["a"]\ncurrencies = ["eur"]', "'eur' is no currency"),
        (RULE + 'psps = ["a"]\nweights = [1]', "weights go with"),
        (RULE + 'psps = ["a"]\nprefer = "weighted"', "weights go with"),
        (RULE + 'psps = ["a"]\nprefer = "fastest"', "fastest"),
        (RULE + 'psps = ["a"]\namount_min = 2\namount_max = 1', "amount_max=1"),
        (RULE + 'psps = ["a"]\ntoken_prefixes = [""]', "empty token prefix"),
        (RULE + 'psps = ["a"]\nsuccess_percent_min = 101', "success_percent_min"),
        (RULE + 'psps = ["a"]\ncolour = "red"', "colour"),
        (RULE + 'psps = ["a"]\n' + RULE + 'psps = ["a"]', "names must differ"),
        ('prefer = "weighted"', "belongs to a rule"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(text: str, reason: str) -> None:
    """The message names the rule or the key, before anything starts."""
    with pytest.raises(msgspec.ValidationError, match=reason):
        msgspec.convert(tomllib.loads(text), RoutingConfig)


def test_a_rule_names_configured_psps() -> None:
    """A slip of the pen does not send everything elsewhere."""
    routing = msgspec.convert(tomllib.loads(RULE + 'psps = ["a"]'), RoutingConfig)
    routing.check_psps(["a", "b"])
    with pytest.raises(ValueError, match=r"rule 'r' names 'a'; configured are b, c"):
        routing.check_psps(["b", "c"])


def test_a_price_is_configured() -> None:
    """A share and a fixed part by currency; nothing of it is free to be anything else."""
    psp = msgspec.convert(
        {"name": "a", "cost_basis_points": 290, "cost_fixed": {"USD": 30}}, PspConfig
    )
    assert psp.cost == Cost(290, {"USD": 30})
    for wrong in ({"cost_basis_points": 10_001}, {"cost_fixed": {"usd": 1}}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"name": "a", **wrong}, PspConfig)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"kind": "stripe"}, "needs secret_key_file"),
        ({"secret_key_file": "secrets/k"}, "takes no secret_key_file"),
        ({"mode": "live"}, "belong to kind stripe"),
        ({"return_url": "https://shop.example"}, "belong to kind stripe"),
        ({"kind": "stripe", "secret_key_file": "k", "mode": "real"}, "real"),
    ],
)
def test_what_belongs_to_stripe_says_so(fields: dict[str, str], reason: str) -> None:
    """A key that another kind would pass over is a mistake."""
    with pytest.raises(msgspec.ValidationError, match=reason):
        msgspec.convert({"name": "a", **fields}, PspConfig)
