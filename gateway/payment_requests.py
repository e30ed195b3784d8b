"""``POST /v1/payments``: the body's shape and its limits, checked before a store is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from gateway.openapi.common import STORABLE_TEXT
from gateway.openapi.declarations import rule
from gateway.problems import Code, Problem
from gateway.settings import SANDBOX_TOKEN_PREFIX, PaymentRoute
from gateway.split_requests import Splits, split_members, splits_problem
from payments.answer import CAPTURE_WIRES
from payments.currencies import EXPONENTS
from payments.fingerprint import canonical_json
from payments.mode import Mode
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


def payment_refusal(
    request: PaymentRequest, mode: Mode, routes: Sequence[PaymentRoute]
) -> Problem | None:
    """Return the first reason to refuse a payment order, in order of precedence, or None."""
    return (
        amount_refusal(request.amount)
        or splits_problem(request.splits, request.amount, request.seller)
        or _capture_refusal(request.capture)
        or _route_refusal(request, mode, routes)
        or _text_refusal(request)
        or _metadata_refusal(request.metadata)
        or _buyer_refusal(request.buyer)
    )


def amount_refusal(amount_minor: int) -> Problem | None:
    """Refuse what no payment can have, whoever asks for what."""
    if amount_minor < 1:
        return Problem(
            code=Code.AMOUNT_TOO_SMALL,
            detail="The amount must be at least 1 minor unit.",
            param="$.amount",
        )
    if amount_minor > AMOUNT_MINOR_MAX:
        return Problem(
            code=Code.AMOUNT_TOO_LARGE,
            detail=f"The amount must be at most {AMOUNT_MINOR_MAX} minor units.",
            param="$.amount",
        )
    return None


def _capture_refusal(capture: str | None) -> Problem | None:
    if capture is None or capture in (CAPTURE_AUTOMATIC, CAPTURE_MANUAL):
        return None
    return Problem(
        code=Code.CAPTURE_INVALID,
        detail=f"The capture mode must be {CAPTURE_AUTOMATIC!r} or {CAPTURE_MANUAL!r}.",
        param="$.capture",
    )


def _route_refusal(
    request: PaymentRequest, mode: Mode, routes: Sequence[PaymentRoute]
) -> Problem | None:
    """Refuse what no PSP account of this mode can charge: token, currency, amount."""
    method, currency = request.payment_method, request.currency
    if mode is Mode.LIVE and method.startswith(SANDBOX_TOKEN_PREFIX):
        return Problem(
            code=Code.SANDBOX_TOKEN_REFUSED,
            detail="Sandbox tokens work with test keys alone.",
            param="$.payment_method",
        )
    for route in routes if _is_token(method) else ():
        if _fits(request, mode, route):
            return None
    by_currency = [one for one in routes if one.mode is mode and one.takes_currency(currency)]
    if not by_currency:
        return Problem(
            code=Code.CURRENCY_NOT_SUPPORTED,
            detail="No provider takes this currency. Codes are upper-case ISO 4217.",
            param="$.currency",
        )
    by_token = [route for route in by_currency if method.startswith(route.token_prefixes)]
    if not _is_token(method) or not by_token:
        return Problem(
            code=Code.PAYMENT_METHOD_INVALID,
            detail="No provider knows such a payment method in this currency.",
            param="$.payment_method",
        )
    minimum_minor = min(route.minimum_minor.get(currency, 1) for route in by_token)
    return Problem(
        code=Code.AMOUNT_TOO_SMALL,
        detail=f"The amount must be at least {minimum_minor} minor units in this currency.",
        param="$.amount",
    )


def _fits(request: PaymentRequest, mode: Mode, route: PaymentRoute) -> bool:
    return (
        route.mode is mode
        and route.takes_currency(request.currency)
        and request.payment_method.startswith(route.token_prefixes)
        and request.amount >= route.minimum_minor.get(request.currency, 1)
    )


def _is_token(method: str) -> bool:
    return (
        1 <= len(method) <= PAYMENT_METHOD_CHARACTERS_MAX
        and method.isascii()
        and method.isprintable()
    )


def _text_refusal(request: PaymentRequest) -> Problem | None:
    description = request.description
    if description is None:
        return None
    if len(description) > DESCRIPTION_CHARACTERS_MAX:
        return Problem(
            code=Code.DESCRIPTION_TOO_LONG,
            detail=f"A description may have at most {DESCRIPTION_CHARACTERS_MAX} characters.",
            param="$.description",
        )
    return zero_character_refusal(description, "$.description")


def _metadata_refusal(metadata: Mapping[str, str] | None) -> Problem | None:
    if not metadata:
        return None
    is_within = len(metadata) <= METADATA_KEYS_MAX and all(
        1 <= len(key) <= METADATA_KEY_CHARACTERS_MAX and len(value) <= METADATA_VALUE_CHARACTERS_MAX
        for key, value in metadata.items()
    )
    if not is_within:
        return Problem(
            code=Code.METADATA_INVALID,
            detail=(
                f"Metadata may have at most {METADATA_KEYS_MAX} keys of 1 to"
                f" {METADATA_KEY_CHARACTERS_MAX} characters, with values of at most"
                f" {METADATA_VALUE_CHARACTERS_MAX}."
            ),
            param="$.metadata",
        )
    return zero_character_refusal("".join((*metadata, *metadata.values())), "$.metadata")


def _buyer_refusal(buyer: Buyer | None) -> Problem | None:
    if buyer is None:
        return None
    limits = (
        ("reference", buyer.reference, BUYER_REFERENCE_CHARACTERS_MAX),
        ("email", buyer.email, BUYER_EMAIL_CHARACTERS_MAX),
        ("name", buyer.name, BUYER_NAME_CHARACTERS_MAX),
    )
    for name, value, characters_max in limits:
        if value is None:
            continue
        if len(value) > characters_max:
            return Problem(
                code=Code.BUYER_INVALID,
                detail=f"This may have at most {characters_max} characters.",
                param=f"$.buyer.{name}",
            )
        if (refusal := zero_character_refusal(value, f"$.buyer.{name}")) is not None:
            return refusal
    return None


def zero_character_refusal(text: str, param: str) -> Problem | None:
    """Refuse U+0000: databases, and many programs after them, end a text there."""
    if "\0" not in text:
        return None
    return Problem(
        code=Code.TEXT_INVALID, detail="A text must not hold the character U+0000.", param=param
    )
