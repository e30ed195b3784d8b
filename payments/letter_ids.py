"""Public ids made of several numbers: a prefix, and letters for each, parted by underscores.

As the ids of payments/identity.py they hold no digit, so that none can be taken for a card number.
"""

from __future__ import annotations

from collections.abc import Sequence

from payments.defects import InvariantViolation
from payments.identity import LETTERS

_HEX_DIGITS = "0123456789abcdef"
_HEX_TO_LETTERS = str.maketrans(_HEX_DIGITS, LETTERS)
_LETTERS_TO_HEX = str.maketrans(LETTERS, _HEX_DIGITS)
_LETTERS = frozenset(LETTERS)

# Of one number: a bigint.
_LETTERS_MAX = 16


def letter_id(prefix: str, *numbers: int) -> str:
    """Return the id of the numbers. Raises InvariantViolation for one below zero."""
    if min(numbers) < 0:
        raise InvariantViolation(f"{prefix}: {numbers} holds a negative number")
    return "_".join([prefix, *(format(n, "x").translate(_HEX_TO_LETTERS) for n in numbers)])


def parse_letter_id(prefix: str, text: str, maxima: Sequence[int]) -> tuple[int, ...] | None:
    """Return the numbers that ``letter_id`` wrote, none above its maximum; None for any other text."""
    head, *parts = text.split("_")
    if head != prefix or len(parts) != len(maxima):
        return None
    if not all(1 <= len(part) <= _LETTERS_MAX and _LETTERS.issuperset(part) for part in parts):
        return None
    numbers = tuple(int(part.translate(_LETTERS_TO_HEX), 16) for part in parts)
    if any(number > most for number, most in zip(numbers, maxima, strict=True)):
        return None
    # One spelling each: leading zeros (b) are refused.
    return numbers if letter_id(prefix, *numbers) == text else None
