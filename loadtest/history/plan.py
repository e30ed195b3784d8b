"""What a load does: its rate, its storefronts, and in which shares it draws its actions. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from runtime.config import ConfigError


class Action(StrEnum):
    """What a storefront may do next."""

    CREATE = "create"
    """A new order; sent again after a 503 or silence, sometimes polled to its end."""
    TWINS = "twins"
    """A new order, sent several times at once."""
    RIVALS = "rivals"
    """A new key with two different orders, sent at once."""
    DUPLICATE = "duplicate"
    """An order of before once more, sometimes with its members in another order."""
    CONFLICT = "conflict"
    """Another order under a key of before."""
    NEIGHBOUR = "neighbour"
    """An order of another storefront under a key of before."""
    READ = "read"
    WALLET = "wallet"
    LIST = "list"
    CARD_NUMBER = "card_number"
    """An order with a card number in it, which has to be refused and forgotten."""
    CAPTURES = "captures"
    """A held payment, then captures of it: whole, in parts, several at once, or of too much."""
    VOIDS = "voids"
    """A held payment that is given back, now and then while it is captured."""
    REFUNDS = "refunds"
    """A paid one, then refunds of it: whole, in parts, several at once, or of too much."""
    CHECKOUTS = "checkouts"
    """Some orders at once, of which one may be declined."""
    AGAIN = "again"
    """A capture, void, refund or checkout of before once more, or another request under its key."""


PAYMENT_WEIGHTS: Mapping[Action, int] = {
    Action.CREATE: 500,
    Action.TWINS: 60,
    Action.RIVALS: 30,
    Action.DUPLICATE: 150,
    Action.CONFLICT: 60,
    Action.NEIGHBOUR: 40,
    Action.READ: 120,
    Action.WALLET: 20,
    Action.LIST: 15,
    Action.CARD_NUMBER: 5,
}
"""Payments alone: what figures from before there was anything else were measured with."""

LIFE_WEIGHTS: Mapping[Action, int] = {
    Action.CAPTURES: 60,
    Action.VOIDS: 40,
    Action.REFUNDS: 70,
    Action.CHECKOUTS: 50,
    Action.AGAIN: 30,
}
"""A fifth of all actions: the payments keep most of the load, so that figures stay comparable."""

ACTION_WEIGHTS: Mapping[Action, int] = {**PAYMENT_WEIGHTS, **LIFE_WEIGHTS}

TOKEN_WEIGHTS: Mapping[str, int] = {
    "tok_approve": 700,
    "tok_decline_do_not_honor": 60,
    "tok_decline_insufficient_funds": 40,
    "tok_slow_200": 60,
    "tok_error_500": 30,
    "tok_rate_limited": 30,
    "tok_timeout_before": 20,
    "tok_charge_then_timeout": 30,
    "tok_charge_then_refuse": 30,
    "tok_down": 20,
}
"""Few of those that leave an outcome unclear for seconds: each holds up a call that long."""

CURRENCIES = ("USD", "EUR", "JPY")


class Storefront(NamedTuple):
    """Whom the load acts for. ``sellers`` are those it names, beside the merchant's own wallet."""

    merchant: str
    mode: str
    api_key: str
    sellers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """One load. The same seed draws the same arrivals, and actions and orders from the same shares; which
    of them meet depends on the answers.
    """

    seed: int
    seconds: float
    """How long new actions arrive, unless it is stopped before."""
    gateway_urls: tuple[str, ...]
    storefronts: tuple[Storefront, ...]
    """At least two, so that keys can be the same and orders must not."""
    fingerprint_key: bytes = field(repr=False)
    """The deployment's own, so that fingerprints can be compared with the books'."""
    rate_per_s: float = 100.0
    """Mean of the arrivals of actions; most are one request, some are five."""
    in_flight_max: int = 400
    """Actions at one time. An arrival beyond it is counted, and not made up for."""
    answer_s_max: float = 20.0
    """Longer than any deadline of a gateway: silence beyond it is an unknown outcome."""
    tries_max: int = 6
    """How often a new order is sent while its answer is a 503 or none."""
    token_weights: Mapping[str, int] = field(default_factory=lambda: dict(TOKEN_WEIGHTS))
    action_weights: Mapping[Action, int] = field(default_factory=lambda: dict(ACTION_WEIGHTS))
    split_share: float = 0.05
    """Of new orders of storefronts that have sellers enough: so many are several sellers' at once."""
    snapshot_every_s: float = 5.0
    """How often the books are looked at in one transaction; 0 never."""

    def __post_init__(self) -> None:
        if len(self.storefronts) < 2 or not self.gateway_urls:
            raise ConfigError("a load needs a gateway and two storefronts")
        if self.rate_per_s <= 0 or self.in_flight_max < 1:
            raise ConfigError("a load needs a rate, and room for one action")
