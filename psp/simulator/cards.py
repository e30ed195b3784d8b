"""The cards that the payment page takes: made-up numbers, each with a fate. Pure.

A number is looked at and dropped: it is in no state, no log and no answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

SMALL_LIMIT_MINOR = 5_000
"""What the card with a limit pays for one charge: 50 of a currency with two decimal places."""

_SEPARATORS = re.compile(r"[ -]")
_DIGITS = re.compile(r"[0-9]{12,19}", re.ASCII)
_EXPIRY = re.compile(r"\s*(0?[1-9]|1[0-2])\s*/\s*(?:20)?([0-9]{2})\s*", re.ASCII)
_CODE = re.compile(r"\s*[0-9]{3,4}\s*", re.ASCII)


class Fate(NamedTuple):
    """What a card does with every charge that it is to pay."""

    says: str
    """For people who try it."""
    decline_code: str | None = None
    is_challenged: bool = False
    """The bank asks the buyer first (3-D Secure)."""
    limit_minor: int | None = None
    """Above it a charge is declined."""

    def decline_of(self, amount_minor: int) -> str | None:
        """Return why a charge of that amount is declined, or None."""
        if self.decline_code is not None:
            return self.decline_code
        if self.limit_minor is not None and amount_minor > self.limit_minor:
            return "insufficient_funds"
        return None


CARDS: Mapping[str, Fate] = {
    "4242424242424242": Fate("pays"),
    "4000000000003220": Fate("asks you first (3-D Secure)", is_challenged=True),
    "4000000000000002": Fate("is declined", decline_code="do_not_honor"),
    "4000000000009995": Fate("has no funds", decline_code="insufficient_funds"),
    "4000000000000069": Fate("has expired", decline_code="expired_card"),
    "4000000000005126": Fate("pays up to 50.00 an order", limit_minor=SMALL_LIMIT_MINOR),
}


class CardForm(NamedTuple):
    """What a buyer entered, as it came. Never shown: its text would be a card's."""

    number: str
    expiry: str
    code: str

    def __repr__(self) -> str:
        return "CardForm(...)"

    def fate(self) -> Fate | None:
        """Return what the card does; None for one that is no test card."""
        return CARDS.get(_SEPARATORS.sub("", self.number.strip()))

    def problems(self, *, year: int, month: int) -> dict[str, str]:
        """Return what to say at which field; none when all are right. The date is today's."""
        problems: dict[str, str] = {}
        if _DIGITS.fullmatch(_SEPARATORS.sub("", self.number.strip())) is None:
            problems["number"] = "Enter the card's number, 12 to 19 digits."
        elif self.fate() is None:
            problems["number"] = "This sandbox takes its own test cards alone. See the list below."
        expiry = _EXPIRY.fullmatch(self.expiry)
        if expiry is None:
            problems["expiry"] = "Enter month and year, such as 12/30."
        elif (2_000 + int(expiry[2]), int(expiry[1])) < (year, month):
            problems["expiry"] = "This date has passed."
        if _CODE.fullmatch(self.code) is None:
            problems["code"] = "Enter the 3 or 4 digits of the security code."
        return problems


DECLINES: Mapping[str, str] = {
    "do_not_honor": "Your bank declined this card.",
    "insufficient_funds": "This card has not enough funds.",
    "expired_card": "This card has expired.",
    "authentication_failed": "The payment was not confirmed with your bank.",
}
"""What a buyer is told, by decline code."""
