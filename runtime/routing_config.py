"""The configuration of routing: which PSPs are asked first for which orders (payments/routing_rules.py)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import msgspec

from payments.currencies import EXPONENTS
from payments.routing_rules import Preference, RoutingRule

Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]
Amount = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]

# Each new order goes through them until one matches.
RULES_MAX = 1_000


class RoutingRuleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule. Conditions that are left out match every order."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    psps: Annotated[list[str], msgspec.Meta(min_length=1)]
    prefer: Preference = Preference.LISTED
    weights: list[Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]] = []
    currencies: list[str] = []
    amount_min: Amount = 0
    amount_max: Amount = 2**53 - 1
    merchants: list[str] = []
    token_prefixes: list[str] = []
    only: bool = False
    success_percent_min: Percent = 0

    def __post_init__(self) -> None:
        unknown = [code for code in self.currencies if code not in EXPONENTS]
        if unknown:
            raise ValueError(f"rule {self.name!r}: {unknown[0]!r} is no currency of ISO 4217")
        if "" in self.token_prefixes:
            raise ValueError(f"rule {self.name!r}: an empty token prefix matches every token")
        self.rule()

    def rule(self) -> RoutingRule:
        """The rule itself. Raises ValueError where the fields don't fit together."""
        return RoutingRule(
            name=self.name,
            psps=tuple(self.psps),
            prefer=self.prefer,
            weights=tuple(self.weights),
            currencies=frozenset(self.currencies),
            amount_min=self.amount_min,
            amount_max=self.amount_max,
            merchants=frozenset(self.merchants),
            token_prefixes=tuple(self.token_prefixes),
            is_only=self.only,
            success_percent_min=self.success_percent_min,
        )


class RoutingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules from the first to the last, and what counts where none matches."""

    prefer: Preference = Preference.LISTED
    rules: Annotated[list[RoutingRuleConfig], msgspec.Meta(max_length=RULES_MAX)] = []

    def __post_init__(self) -> None:
        if self.prefer is Preference.WEIGHTED:
            raise ValueError("prefer: weighted belongs to a rule, which has the weights")
        names = [rule.name for rule in self.rules]
        if len(set(names)) != len(names):
            raise ValueError(f"rules: names must differ, and are {names}")

    def check_psps(self, known: Collection[str]) -> None:
        """Raises ValueError when a rule names a PSP that is not configured."""
        for rule in self.rules:
            for psp in rule.psps:
                if psp not in known:
                    raise ValueError(
                        f"routing.rules: rule {rule.name!r} names {psp!r}; configured are"
                        f" {', '.join(known)}"
                    )
