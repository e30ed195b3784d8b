"""All that routing knows, prepared once: for each new order the rules are gone through once. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

from payments.defects import InvariantViolation
from payments.routing import Ask, Route, choose
from payments.routing_rules import Preference, RoutingRule, cheapest_first, cost_of, ranked

_UNKNOWN: Mapping[str, int] = {}


class RuleSaid(NamedTuple):
    """What one rule said to an order."""

    rule: str
    has_matched: bool
    why: str
    decides: bool = False
    """The first that matches does; those after it are only looked at to be explained."""


class PspSaid(NamedTuple):
    """Where one PSP stands for an order."""

    psp: str
    place: int | None
    """From 1 on: the order in which they are asked; None: it does not take the order at all."""
    cost_ten_thousandths: int
    """What it takes for the charge, in ten-thousandths of a minor unit."""
    why: str


class Explanation(NamedTuple):
    """Why an order goes where it goes."""

    rules: tuple[RuleSaid, ...]
    psps: tuple[PspSaid, ...]
    """Those that would be asked first, in their order, then the others."""


class _Prepared(NamedTuple):
    rule: RoutingRule
    routes: tuple[Route, ...]
    rest: tuple[Route, ...]


class RoutingTable:
    """Routes in the order of the configuration, and rules over them. Raises InvariantViolation where a
    rule names a PSP that is none of the routes'.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        rules: Sequence[RoutingRule] = (),
        *,
        prefer: Preference = Preference.LISTED,
    ) -> None:
        """``prefer`` is for orders that no rule matches."""
        if not routes:
            raise InvariantViolation("no PSP is configured")
        self._routes = tuple(routes)
        self._is_cheapest = prefer is Preference.CHEAPEST
        self._prepared = [self._prepare(rule) for rule in rules]

    def _prepare(self, rule: RoutingRule) -> _Prepared:
        by_name = {route.psp: route for route in self._routes}
        missing = [name for name in rule.psps if name not in by_name]
        if missing:
            raise InvariantViolation(f"rule {rule.name!r} names {missing[0]!r}, which is no PSP")
        rest = tuple(route for route in self._routes if route.psp not in rule.psps)
        named = tuple(by_name[name] for name in rule.psps)
        return _Prepared(rule, named, () if rule.is_only else rest)

    def first(
        self,
        ask: Ask,
        *,
        avoiding: Container[str] = (),
        success_percents: Mapping[str, int] = _UNKNOWN,
    ) -> str | None:
        """Return the PSP that is asked first and is not avoided; None when there is none."""
        if not self._prepared and not self._is_cheapest:
            return choose(self._routes, ask, avoiding=avoiding)
        return choose(self._order(ask, success_percents), ask, avoiding=avoiding)

    def home(self, ask: Ask) -> str:
        """Return the PSP that an order belongs to when all are well; the first of all where none can use
        it, to say so itself.
        """
        return self.first(ask) or self._routes[0].psp

    def explain(
        self,
        ask: Ask,
        *,
        avoiding: Container[str] = (),
        success_percents: Mapping[str, int] = _UNKNOWN,
    ) -> Explanation:
        """Return why the order goes where it goes, as ``first`` decides it."""
        rules: list[RuleSaid] = []
        decided = False
        for prepared in self._prepared:
            mismatch = _mismatch(prepared, ask)
            decides = mismatch is None and not decided
            decided = decided or decides
            why = mismatch or ("it decides" if decides else "an earlier rule decides")
            rules.append(RuleSaid(prepared.rule.name, mismatch is None, why, decides))
        order = self._order(ask, success_percents)
        said: list[PspSaid] = []
        place = 0
        for route in order:
            obstacle = route.obstacle(ask)
            if obstacle is None and route.psp in avoiding:
                obstacle = "its breaker lets no new order through"
            place += obstacle is None
            said.append(_said(route, ask, None if obstacle else place, obstacle or "can take it"))
        asked = {route.psp for route in order}
        left_out = "the rule that decides names others only"
        said += [
            _said(route, ask, None, left_out) for route in self._routes if route.psp not in asked
        ]
        return Explanation(tuple(rules), tuple(sorted(said, key=_by_place)))

    def _order(self, ask: Ask, success_percents: Mapping[str, int]) -> Sequence[Route]:
        for prepared in self._prepared:
            if _mismatch(prepared, ask) is None:
                named = ranked(prepared.rule, prepared.routes, ask, success_percents)
                return [*named, *self._preferred(prepared.rest, ask)]
        return self._preferred(self._routes, ask)

    def _preferred(self, routes: Sequence[Route], ask: Ask) -> Sequence[Route]:
        return cheapest_first(routes, ask) if self._is_cheapest else routes


def _mismatch(prepared: _Prepared, ask: Ask) -> str | None:
    mismatch = prepared.rule.mismatch(ask)
    if mismatch is not None:
        return mismatch
    if not any(route.can_take(ask) for route in prepared.routes):
        return "none of its PSPs can use the payment"
    return None


def _said(route: Route, ask: Ask, place: int | None, why: str) -> PspSaid:
    return PspSaid(route.psp, place, cost_of(route, ask), why)


def _by_place(said: PspSaid) -> tuple[bool, int]:
    return said.place is None, said.place or 0
