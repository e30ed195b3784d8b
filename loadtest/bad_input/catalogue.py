"""All classes of bad requests, and which one a seed and an index make."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from loadtest.bad_input import (
    cards,
    fields,
    framing,
    headers,
    heads,
    json_texts,
    places,
    sellers,
    webhooks,
)
from loadtest.bad_input.drawing import Draw
from loadtest.bad_input.requests import BadClass, BadRequest

_MODULES: tuple[ModuleType, ...] = (
    heads,
    framing,
    headers,
    places,
    json_texts,
    fields,
    sellers,
    webhooks,
    cards,
)

# A class that takes ten seconds a request gets its turn once in so many rounds: at 10,000 requests
# that is some five times, and the rest of them take their usual time.
RARE_ROUNDS = 25


def _classes() -> Iterator[BadClass]:
    """Every class that a module defines: none can be forgotten in a list."""
    for module in _MODULES:
        yield from (value for value in vars(module).values() if isinstance(value, BadClass))


CLASSES: tuple[BadClass, ...] = tuple(_classes())
_USUAL: tuple[BadClass, ...] = tuple(each for each in CLASSES if not each.is_rare)


def class_at(index: int) -> BadClass:
    """Return whose turn it is: all in turn, so that even a short run has some of each."""
    round_index, place = divmod(index, len(CLASSES))
    chosen = CLASSES[place]
    if chosen.is_rare and round_index % RARE_ROUNDS != 0:
        return _USUAL[round_index % len(_USUAL)]
    return chosen


def request_at(seed: int, index: int, api_key: str) -> BadRequest:
    """Return a request that is the same each time for one seed, index and API key."""
    return class_at(index).request(Draw(seed, index, api_key))
