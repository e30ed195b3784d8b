"""Find card numbers in text, so that none is ever logged, queued or kept.

A card number here is 13 to 19 digits (ISO/IEC 7812-1 allows no more), Luhn-valid, in a published
issuer range, with at most one space or hyphen between two digits. Any of those lengths counts for
any range: a wrong refusal costs a merchant a corrected request, a kept number costs everyone the
audit scope.

Digits that touch form a group, and only whole groups count. ``order4111111111111111`` and
``4111 1111 1111 1111 12/27`` are found; a slice out of ``9941111111111111110`` is not, because six
in ten 19-digit ids hold some slice that would do. So a group of 20 or more is none.

A UUID with a letter in it is passed over: one in 800 random ones holds a Luhn-valid stretch such as
``4052-8417-99213``, and storefronts name carts and buyers by UUIDs. No card is ever written in
groups of 8-4-4-4-12. Without hyphens it is one in 1,100, so a UUID may be written so too; then version and
variant must stand where RFC 9562, section 4, has them, since any other 32 digits and letters are no shape, and
the digits that it begins or ends with must be no card number: a card number with its filling, or with the rest
of its magnetic track, may have that shape. So one in 5,900 is still refused.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import NamedTuple

LENGTH_MIN = 13
LENGTH_MAX = 19


class IssuerRange(NamedTuple):
    """All numbers whose first digits lie between ``first`` and ``last``, both included."""

    network: str
    first: str
    last: str


# The networks' published ranges under ISO/IEC 7812-1, as collected in Wikipedia's "Payment card
# number". Networks whose cards fall in a range named here (Elo, Troy, Dankort) have no own line.
ISSUER_RANGES = (
    IssuerRange("Visa", "4", "4"),
    IssuerRange("Mastercard", "51", "55"),
    IssuerRange("Mastercard", "2221", "2720"),
    IssuerRange("American Express", "34", "34"),
    IssuerRange("American Express", "37", "37"),
    IssuerRange("Discover", "6011", "6011"),
    IssuerRange("Discover", "644", "649"),
    IssuerRange("Discover", "65", "65"),
    IssuerRange("Diners Club", "300", "305"),
    IssuerRange("Diners Club", "3095", "3095"),
    IssuerRange("Diners Club", "36", "36"),
    IssuerRange("Diners Club", "38", "39"),
    IssuerRange("JCB", "3528", "3589"),
    IssuerRange("UnionPay", "62", "62"),
    IssuerRange("UnionPay, RuPay", "81", "82"),
    IssuerRange("RuPay, Hipercard", "60", "60"),
    IssuerRange("Maestro", "50", "50"),
    IssuerRange("Maestro", "56", "58"),
    IssuerRange("Maestro", "6304", "6304"),
    # 6759, 6761-6763 and, in the United Kingdom, 676770 and 676774.
    IssuerRange("Maestro", "67", "67"),
    IssuerRange("Mir", "2200", "2204"),
)

_PREFIX_LENGTH = 4  # the longest prefix in the table


def _expanded(ranges: tuple[IssuerRange, ...]) -> frozenset[str]:
    return frozenset(
        str(prefix)
        for issuer in ranges
        for prefix in range(
            int(issuer.first.ljust(_PREFIX_LENGTH, "0")),
            int(issuer.last.ljust(_PREFIX_LENGTH, "9")) + 1,
        )
    )


_PREFIXES = _expanded(ISSUER_RANGES)

# The quick look: digits become "d", other bytes ".", spaces and hyphens vanish, and 13 digits in a
# row are searched for. Three passes in C, 1 us a KiB; a regular expression alone takes 10 us.
_DIGITS, _SEPARATORS, _ASCII = b"0123456789", b" -", bytes(range(128))
_CLASSES = bytes(ord("d") if byte in _DIGITS else ord(".") for byte in range(256))
_ENOUGH_DIGITS = b"d" * LENGTH_MIN

_DECIMALS = "0123456789"
_RUN = re.compile(rf"[0-9](?:[ -]?[0-9]){{{LENGTH_MIN - 1},}}+")
_GROUP_BREAK = re.compile("[ -]")
_UUID = re.compile(
    r"(?<![0-9a-z])(?=[0-9-]{0,35}[a-f])"
    r"(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{12}[1-8][0-9a-f]{3}[89ab][0-9a-f]{15})"
    r"(?![0-9a-z])",
    re.IGNORECASE | re.ASCII,
)
# Other scripts' decimal digits, and the spaces and hyphens that word processors put into numbers.
_FOREIGN = re.compile("[\\d\u00a0\u2000-\u200a\u202f\u3000\u2010-\u2015\u2212\uff0d]")
_JSON_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")

_LUHN_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def contains_card_number(text: str) -> bool:
    """Whether a card number stands anywhere in the text. Says only that: no digit leaves here."""
    if len(text) < LENGTH_MIN:
        return False
    data = text.encode("utf-8", "replace")
    if not text.isascii() and _FOREIGN.search(data.translate(None, _ASCII).decode()) is not None:
        text = _FOREIGN.sub(_to_ascii, text)
        data = text.encode("utf-8", "replace")
    if _ENOUGH_DIGITS not in data.translate(_CLASSES, _SEPARATORS):
        return False
    # UUIDs are looked for last: few texts get here with a card number, but many with a UUID.
    return _has_card_number_in_runs(text) and _has_card_number_in_runs(
        _UUID.sub(_passed_over, text)
    )


def contains_card_number_in_json(body: bytes) -> bool:
    r"""Whether a card number stands in a JSON text, also one hidden in escapes (``\u0034``)."""
    text = body.decode("utf-8", "replace")
    if contains_card_number(text):
        return True
    if "\\u" not in text:
        return False
    unescaped = _JSON_ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    # Escapes beyond 16 bits come as two halves; UTF-16 joins them.
    joined = unescaped.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return contains_card_number(joined)


def _to_ascii(match: re.Match[str]) -> str:
    """Return our own digit for any script's, a hyphen for any separator."""
    character = match[0]
    return str(int(character)) if character.isdecimal() else "-"


def _passed_over(uuid: re.Match[str]) -> str:
    """Return what is left to look at of what has a UUID's shape: nothing, or all of it."""
    shaped = uuid[0]
    if "-" in shaped:
        return "."
    begins = shaped[: len(shaped) - len(shaped.lstrip(_DECIMALS))]
    ends = shaped[len(shaped.rstrip(_DECIMALS)) :]
    is_card = any(
        len(digits) >= LENGTH_MIN and _has_card_number(digits) for digits in (begins, ends)
    )
    return shaped if is_card else "."


def _has_card_number_in_runs(text: str) -> bool:
    return any(_has_card_number(match[0]) for match in _RUN.finditer(text))


def _has_card_number(run: str) -> bool:
    """Whether some whole groups of a run, next to each other, form a card number.

    Linear in the run's length: each Luhn sum is a difference of two running totals.
    """
    groups = _GROUP_BREAK.split(run)
    bounds = list(accumulate(map(len, groups), initial=0))
    digits = "".join(groups)
    plain = list(map(int, digits))
    doubled = [_LUHN_DOUBLED[digit] for digit in plain]
    # A number that ends before an even position doubles its digits at even positions, and so on.
    totals_by_parity = (
        list(accumulate(_interleaved(doubled, plain), initial=0)),
        list(accumulate(_interleaved(plain, doubled), initial=0)),
    )
    for bound_index, start in enumerate(bounds):
        if digits[start : start + _PREFIX_LENGTH] not in _PREFIXES:
            continue
        for end in bounds[bound_index + 1 : bound_index + 1 + LENGTH_MAX]:
            if end - start > LENGTH_MAX:
                break
            totals = totals_by_parity[end % 2]
            if end - start >= LENGTH_MIN and (totals[end] - totals[start]) % 10 == 0:
                return True
    return False


def _interleaved(at_even: list[int], at_odd: list[int]) -> list[int]:
    mixed = at_odd.copy()
    mixed[::2] = at_even[::2]
    return mixed
