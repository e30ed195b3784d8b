"""How a row ends other than by passing."""

from __future__ import annotations


class Violated(Exception):
    """The deployment broke the promise; the text says what it did instead."""


class NotTestable(Exception):
    """The promise can't be tried here; the text says what is missing."""


def expect(is_so: bool, reason: str) -> None:
    """Raise Violated with the reason unless it is so."""
    if not is_so:
        raise Violated(reason)
