"""``POST /v1/payments``: the body's shape and its limits, which ``gateway.payment_checks`` holds it to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from gateway.openapi.common import STORABLE_TEXT
from gateway.openapi.declarations import rule
from gateway.split_requests import Splits, split_members
from payments.answer import CAPTURE_WIRES
from payments.currencies import EXPONENTS
from payments.fingerprint import canonical_json
from payments.money import AMOUNT_MINOR_MAX

DESCRIPTION_CHARACTERS_MAX = 500
METADATA_KEYS_MAX = 50
METADATA_KEY_CHARACTERS_MAX = 40
METADATA_VALUE_CHARACTERS_MAX = 500
# A merchant's own name for its buyer.
BUYER_REFERENCE_CHARACTERS_MAX = 200
# RFC 5321: a path of 256 octets, less its angle brackets.
BUYER_EMAIL_CHARACTERS_MAX = 254
BUYER_NAME_CHARACTERS_MAX = 200
# The longest token that the queue carries.
PAYMENT_METHOD_CHARACTERS_MAX = 255

CAPTURE_AUTOMATIC = CAPTURE_WIRES[False]
CAPTURE_MANUAL = CAPTURE_WIRES[True]


def _text(what: str, characters_max: int) -> msgspec.Meta:
    return rule(what, maxLength=characters_max, pattern=STORABLE_TEXT)


Amount = Annotated[int, rule("In minor units.", minimum=1, maximum=AMOUNT_MINOR_MAX)]
Currency = Annotated[str, rule("One that a provider takes.", enum=sorted(EXPONENTS))]
PaymentMethod = Annotated[
    str,
    rule(
        "A provider's token; never a card number.",
        minLength=1,
        maxLength=PAYMENT_METHOD_CHARACTERS_MAX,
        pattern="^[ -~]+$",
    ),
]
SellerId = Annotated[str, rule("Whose wallet is credited; your own when left out.")]
Description = Annotated[str, _text("", DESCRIPTION_CHARACTERS_MAX)]
Metadata = Annotated[
    dict[str, Annotated[str, _text("", METADATA_VALUE_CHARACTERS_MAX)]],
    rule(
        "Yours to fill; shown with the payment.",
        maxProperties=METADATA_KEYS_MAX,
        propertyNames={
            "minLength": 1,
            "maxLength": METADATA_KEY_CHARACTERS_MAX,
            "pattern": STORABLE_TEXT,
        },
    ),
]
"""Fields of requests that take payments, with their rules."""


class Buyer(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, gc=False):
    """Who pays. Personal data: kept apart from the books, and only passed on."""

    reference: (
        Annotated[str, _text("Your own name for it.", BUYER_REFERENCE_CHARACTERS_MAX)] | None
    ) = None
    email: Annotated[str, _text("", BUYER_EMAIL_CHARACTERS_MAX)] | None = None
    name: Annotated[str, _text("", BUYER_NAME_CHARACTERS_MAX)] | None = None

    def members(self) -> dict[str, object]:
        """Return the members that were given."""
        given = {"reference": self.reference, "email": self.email, "name": self.name}
        return {name: value for name, value in given.items() if value is not None}


_REQUIRED_COUNT = 3


class PaymentRequest(
    msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, gc=False
):
    """The body of ``POST /v1/payments`` as it came: types are right, values not yet checked."""

    amount: Amount
    currency: Currency
    payment_method: PaymentMethod
    seller: SellerId | None = None
    splits: Splits | None = None
    capture: Annotated[str, rule(enum=[CAPTURE_AUTOMATIC, CAPTURE_MANUAL])] | None = None
    description: Description | None = None
    metadata: Metadata | None = None
    buyer: Buyer | None = None

    def member_count(self) -> int:
        """Return how many members with a value the body has, those of its objects included."""
        count = _REQUIRED_COUNT + (self.seller is not None) + (self.capture is not None)
        count += self.description is not None
        if self.metadata is not None:
            count += 1 + len(self.metadata)
        if self.splits is not None:
            count += 1 + sum(map(len, split_members(self.splits)))
        if self.buyer is not None:
            count += 1 + len(self.buyer.members())
        return count

    def buyer_json(self) -> str | None:
        """Return the buyer as canonical JSON text, None when nothing was given."""
        members = {} if self.buyer is None else self.buyer.members()
        return canonical_json(members) if members else None

    def metadata_json(self) -> str | None:
        """Return the metadata as canonical JSON text, None when there is none."""
        return canonical_json(self.metadata) if self.metadata else None

    def fingerprint_fields(
        self, seller_id: str, checkout: str | None = None
    ) -> Mapping[str, object]:
        """Return the business fields; ``seller_id`` is the seller after the default."""
        return {
            "amount": self.amount,
            "currency": self.currency,
            "seller": seller_id,
            "splits": None if self.splits is None else split_members(self.splits),
            "checkout": checkout,
            "payment_method": self.payment_method,
            "capture": self.capture,
            "description": self.description,
            "metadata": self.metadata,
            "buyer": None if self.buyer is None else self.buyer.members(),
        }


PAYMENT_DECODER = msgspec.json.Decoder(PaymentRequest)
