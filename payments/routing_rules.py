"""Routing rules: which PSPs are asked first for which orders, as data. Pure.

The first rule that matches decides. What it names comes first, everything else that can use the order
behind, unless the rule says *only*. A rule never makes a PSP take what it can't use, and one that names
no PSP which can use the order does not match.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from payments.routing import Ask, Route


class Preference(StrEnum):
    """In which order the PSPs of a rule are asked."""

    LISTED = "listed"
    """As they are written down."""
    CHEAPEST = "cheapest"
    """The one that costs least for this amount first; equal ones as they are written down."""
    WEIGHTED = "weighted"
    """Drawn by their weights, from the order's own id: the same order is always drawn the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingRule:
    """One rule. An empty condition matches everything. Raises ValueError where fields don't fit together."""

    name: str
    psps: tuple[str, ...]
    prefer: Preference = Preference.LISTED
    weights: tuple[int, ...] = ()
    """One for each of ``psps``; 0 is asked last of all."""
    currencies: frozenset[str] = frozenset()
    amount_min: int = 0
    """In minor units, whatever the currency."""
    amount_max: int | None = None
    merchants: frozenset[str] = frozenset()
    token_prefixes: tuple[str, ...] = ()
    is_only: bool = False
    """No PSP but those named takes the order."""
    success_percent_min: int = 0
    """A PSP of which fewer of the latest charges were approved is asked after the others."""

    def __post_init__(self) -> None:
        if not self.psps or len(set(self.psps)) != len(self.psps):
            raise ValueError(f"rule {self.name!r}: psps must name at least one, each of them once")
        is_weighted = self.prefer is Preference.WEIGHTED
        if is_weighted != bool(self.weights) or len(self.weights) not in (0, len(self.psps)):
            raise ValueError(f"rule {self.name!r}: weights go with prefer = weighted, one each")
        if any(weight < 0 for weight in self.weights) or (is_weighted and not sum(self.weights)):
            raise ValueError(f"rule {self.name!r}: weights must not be below zero, nor all zero")
        if self.amount_max is not None and self.amount_max < self.amount_min:
            raise ValueError(
                f"rule {self.name!r}: amount_max={self.amount_max} is below"
                f" amount_min={self.amount_min}"
            )

    def mismatch(self, ask: Ask) -> str | None:
        """Which of its conditions the order does not meet, for people; None when it meets all."""
        if self.currencies and ask.currency not in self.currencies:
            return f"currency {ask.currency} is not among {', '.join(sorted(self.currencies))}"
        if ask.amount_minor < self.amount_min:
            return f"the amount {ask.amount_minor} is below {self.amount_min}"
        if self.amount_max is not None and ask.amount_minor > self.amount_max:
            return f"the amount {ask.amount_minor} is above {self.amount_max}"
        if self.merchants and ask.merchant_id not in self.merchants:
            return f"merchant {ask.merchant_id} is not among those of the rule"
        if self.token_prefixes and not ask.token.startswith(self.token_prefixes):
            return f"the token begins with none of {', '.join(self.token_prefixes)}"
        return None


def ranked(
    rule: RoutingRule, routes: Sequence[Route], ask: Ask, success_percents: Mapping[str, int]
) -> list[Route]:
    """Return the rule's routes in the order in which they are asked."""
    order = _by_preference(rule, routes, ask)
    if rule.success_percent_min and success_percents:
        # A stable sort: those that do well stay in their order, and so do the others.
        order.sort(key=lambda route: _is_ailing(rule, route, success_percents))
    return order


def _by_preference(rule: RoutingRule, routes: Sequence[Route], ask: Ask) -> list[Route]:
    match rule.prefer:
        case Preference.LISTED:
            return list(routes)
        case Preference.CHEAPEST:
            return cheapest_first(routes, ask)
        case Preference.WEIGHTED:
            return list(_drawn(rule, routes, ask))


def cheapest_first(routes: Sequence[Route], ask: Ask) -> list[Route]:
    """Return routes by what the charge would cost; equal ones as they came."""
    return sorted(routes, key=lambda route: cost_of(route, ask))


def cost_of(route: Route, ask: Ask) -> int:
    """What the PSP takes for it, in ten-thousandths of a minor unit."""
    return route.cost.ten_thousandths(ask.amount_minor, ask.currency)


def _is_ailing(rule: RoutingRule, route: Route, success_percents: Mapping[str, int]) -> bool:
    return success_percents.get(route.psp, 100) < rule.success_percent_min


def _drawn(rule: RoutingRule, routes: Sequence[Route], ask: Ask) -> Iterator[Route]:
    """Draw one after the other, each with its weight's part of those that are left."""
    left = list(zip(routes, rule.weights, strict=True))
    seed = ask.order_uuid.bytes + rule.name.encode()
    while left:
        total = sum(weight for _, weight in left)
        if total == 0:
            yield from (route for route, _ in left)
            return
        digest = hashlib.blake2b(seed + bytes([len(left)]), digest_size=8).digest()
        # 2**64 is so far above any sum of weights that the rest's bias is nothing.
        place = int.from_bytes(digest, "big") % total
        for index, (route, weight) in enumerate(left):
            place -= weight
            if place < 0:
                yield route
                del left[index]
                break
