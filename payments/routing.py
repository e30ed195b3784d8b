"""Which PSP may take an order: the first of an ordered list that can use it. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple


class Availability(NamedTuple):
    """What an owner knows of its PSPs as it decides: an input, so equal inputs give equal plans."""

    refusing: frozenset[str] = frozenset()
    """PSPs whose breaker lets no new order through."""
    probes: Mapping[str, int] = {}
    """How many new orders a PSP may take that is only being tried again."""


ALL_AVAILABLE = Availability()


class Route(NamedTuple):
    """What one PSP takes."""

    psp: str
    token_prefixes: tuple[str, ...]
    currencies: frozenset[str] | None
    """None: every currency."""
    minimum_minor: Mapping[str, int]
    """Smallest amount by currency; a currency not named has 1."""

    def can_take(self, token: str, currency: str, amount_minor: int) -> bool:
        """Whether the PSP can use the token, in this currency, for this amount."""
        if not token.startswith(self.token_prefixes):
            return False
        if self.currencies is not None and currency not in self.currencies:
            return False
        return amount_minor >= self.minimum_minor.get(currency, 1)


def choose(
    routes: Sequence[Route],
    *,
    token: str,
    currency: str,
    amount_minor: int,
    avoiding: Container[str] = (),
) -> str | None:
    """Return the first PSP that can take it and is not avoided; None when there is none."""
    for route in routes:
        if route.psp not in avoiding and route.can_take(token, currency, amount_minor):
            return route.psp
    return None
