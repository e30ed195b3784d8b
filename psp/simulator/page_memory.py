"""What a payment page remembers of its buyer, between a form and the page that follows it.

A form is answered by a redirect to the page, which tells what came of it: so a way back and a reload send
nothing again, and no browser asks whether to. All of it may be forgotten: then the buyer enters the card once
more, and may try one card more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

from psp.simulator.cards import Fate

PAGES_REMEMBERED_MAX = 10_000
"""Pages of which each kind of thing is remembered; that of the oldest is forgotten."""

PageName = tuple[str, str]

Value = TypeVar("Value")


class Told(NamedTuple):
    """What the page says of the form before: ``problems`` by field."""

    message: str
    problems: Mapping[str, str] = {}


class Remembered(Generic[Value]):
    """One thing a page, by its name."""

    def __init__(self) -> None:
        self._values: OrderedDict[PageName, Value] = OrderedDict()

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def get(self, name: PageName) -> Value | None:
        """Return what is remembered of the page."""
        return self._values.get(name)

    def put(self, name: PageName, value: Value) -> None:
        """Remember it, and forget the oldest page's beyond PAGES_REMEMBERED_MAX."""
        self._values[name] = value
        self._values.move_to_end(name)
        if len(self._values) > PAGES_REMEMBERED_MAX:
            self._values.popitem(last=False)

    def take(self, name: PageName) -> Value | None:
        """Return it, and forget it."""
        return self._values.pop(name, None)


class PageMemory:
    """All that is remembered of pages."""

    def __init__(self) -> None:
        self.tries: Remembered[int] = Remembered()
        """Cards that were declined so far."""
        self.asked: Remembered[Fate] = Remembered()
        """What becomes of a card that the bank has a question about."""
        self.told: Remembered[Told] = Remembered()
