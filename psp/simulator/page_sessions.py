"""Which charges a payment page shows together. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from msgspec import UnsetType

from psp.simulator.page_terms import HostedTerms


class Paged(Protocol):
    """A charge, as far as its page needs it."""

    key: str
    merchant: str


C = TypeVar("C", bound=Paged)


class PageSessions(Generic[C]):
    """The charges that were registered for a page, by key and by the merchant's session."""

    def __init__(self) -> None:
        self._terms: dict[str, HostedTerms] = {}
        self._charges: dict[tuple[str, str], list[C]] = {}

    def note(self, charge: C, terms: HostedTerms | UnsetType) -> None:
        """Keep a new charge's page, if it has one."""
        if isinstance(terms, HostedTerms):
            self._terms[charge.key] = terms
            self._charges.setdefault((charge.merchant, terms.session), []).append(charge)

    def of(self, key: str) -> HostedTerms | None:
        """Return a charge's page; None where it has none."""
        return self._terms.get(key)

    def together(self, charge: C) -> Sequence[C]:
        """Return the charges of a page, in the order of their registration; none where it has no page."""
        terms = self._terms.get(charge.key)
        return [] if terms is None else list(self._charges[charge.merchant, terms.session])
