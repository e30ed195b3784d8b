"""Which PSP may take an order: the first of an ordered list that can use it. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from payments.mode import Mode


class Availability(NamedTuple):
    """What an owner knows of its PSPs as it decides: an input, so equal inputs give equal plans."""

    refusing: frozenset[str] = frozenset()
    """PSPs whose breaker lets no new order through."""
    probes: Mapping[str, int] = {}
    """How many new orders a PSP may take that is only being tried again."""
    success_percents: Mapping[str, int] = {}
    """Of a PSP's latest charges, how many in a hundred were approved; one not named is not known."""


ALL_AVAILABLE = Availability()


class Ask(NamedTuple):
    """What of an order its route may hang on."""

    token: str
    currency: str
    amount_minor: int
    merchant_id: str
    mode: Mode
    order_uuid: UUID


class Cost(NamedTuple):
    """What one PSP takes for a charge: hundredths of a percent, and a fixed part by currency."""

    basis_points: int = 0
    fixed_minor: Mapping[str, int] = {}
    """A currency not named has none."""

    def ten_thousandths(self, amount_minor: int, currency: str) -> int:
        """The cost of a charge in ten-thousandths of a minor unit: exact, and only to be compared."""
        return amount_minor * self.basis_points + 10_000 * self.fixed_minor.get(currency, 0)


FREE = Cost()


class Route(NamedTuple):
    """What one PSP takes."""

    psp: str
    token_prefixes: tuple[str, ...]
    currencies: frozenset[str] | None
    """None: every currency."""
    minimum_minor: Mapping[str, int]
    """Smallest amount by currency; a currency not named has 1."""
    multiple_minor: Mapping[str, int] = {}
    """What an amount must be a multiple of, by currency; a currency not named has 1."""
    mode: Mode | None = None
    """The one mode whose orders it takes; None: both."""
    cost: Cost = FREE

    def can_take(self, ask: Ask) -> bool:
        """Whether the PSP can use the token, in this mode and currency, for this amount.

        Asked for each new order; ``obstacle`` says the same in words, and a test holds the two together.
        """
        token, currency, amount_minor, _, mode, _ = ask
        return (
            token.startswith(self.token_prefixes)
            and (self.mode is None or mode is self.mode)
            and (self.currencies is None or currency in self.currencies)
            and amount_minor >= self.minimum_minor.get(currency, 1)
            and not amount_minor % self.multiple_minor.get(currency, 1)
        )

    def obstacle(self, ask: Ask) -> str | None:
        """Why the PSP can't take it, for people; None when it can."""
        if not ask.token.startswith(self.token_prefixes):
            return "it can't use such a token"
        if self.mode is not None and ask.mode is not self.mode:
            return f"its account is for {self.mode.wire} mode"
        if self.currencies is not None and ask.currency not in self.currencies:
            return "it does not take the currency"
        minimum_minor = self.minimum_minor.get(ask.currency, 1)
        if ask.amount_minor < minimum_minor:
            return f"it takes {minimum_minor} at least"
        multiple_minor = self.multiple_minor.get(ask.currency, 1)
        if ask.amount_minor % multiple_minor:
            return f"it takes multiples of {multiple_minor}"
        return None


def choose(routes: Iterable[Route], ask: Ask, *, avoiding: Container[str] = ()) -> str | None:
    """Return the first PSP that can take it and is not avoided; None when there is none."""
    for route in routes:
        if route.psp not in avoiding and route.can_take(ask):
            return route.psp
    return None
