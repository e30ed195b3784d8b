"""Where the chance in a bad request comes from: a seed, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")

LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Texts that programs trip over: other scripts, marks that turn or join, quotes, markup, paths. None
# holds U+0000 or half a surrogate pair: those are refused for themselves.
ODD_TEXTS = (
    "Ünïcødé", "日本語のお店", "\u202eright to left", "e\u0301\u0327", "\U0001f4b8", "\ufeff", "\x7f\x1b[31m",
    "'; DROP TABLE payment_order; --", "<script>alert(1)</script>", "${jndi:ldap://x}", "../../etc/passwd",
    "%s%n%x", "\r\nSet-Cookie: a=b", "\\", '"', "NaN ", "null ", "-1", " ", "\t",
)  # fmt: skip
# Beginnings of several issuers' ranges.
_ISSUERS = ("4", "51", "2221", "34", "37", "6011", "36", "3528", "62", "50", "67", "2200")
_CARD_LENGTHS = (13, 14, 15, 16, 16, 16, 18, 19)


class Draw:
    """The chances of one request, and the API key that it may show."""

    def __init__(self, seed: int, index: int, api_key: str) -> None:
        self._random = random.Random(f"{seed}:{index}")  # noqa: S311 -- seeded, to be repeated
        self.api_key = api_key

    def choice(self, of: Sequence[T]) -> T:
        return self._random.choice(of)

    def integer(self, least: int, most: int) -> int:
        """Return a whole number; both ends are included."""
        return self._random.randint(least, most)

    def is_heads(self) -> bool:
        return self._random.random() < 0.5

    def octets(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def word(self, least: int = 3, most: int = 12) -> str:
        """Return lower-case letters alone: nothing in them can look like a card number."""
        return "".join(self._random.choices(LETTERS, k=self.integer(least, most)))

    def odd_text(self) -> str:
        return self.choice(ODD_TEXTS) + self.word()

    def key(self) -> str:
        """Return an idempotency key."""
        return str(UUID(bytes=self.octets(16), version=4))

    def lettered_key(self) -> str:
        """Return a UUID without a decimal digit, for places where digits could make a card number."""
        letters = "".join(self._random.choices("abcdef", k=32))
        return str(UUID(letters))

    def card_number(self) -> str:
        """Return a Luhn-valid number of an issuer's range, as digits."""
        length = self.choice(_CARD_LENGTHS)
        digits = self.choice(_ISSUERS)
        digits += "".join(self._random.choices("0123456789", k=length - 1 - len(digits)))
        return digits + luhn_check_digit(digits)


def luhn_check_digit(digits: str) -> str:
    """Return the digit that makes ``digits`` Luhn-valid when appended: the textbook way."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        doubled = int(digit) * 2 if position % 2 == 0 else int(digit)
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)
