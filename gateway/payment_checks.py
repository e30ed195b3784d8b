"""What ``POST /v1/payments`` is refused for, once its body has the right shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.payment_requests import (
    BUYER_EMAIL_CHARACTERS_MAX,
    BUYER_NAME_CHARACTERS_MAX,
    BUYER_REFERENCE_CHARACTERS_MAX,
    CAPTURE_AUTOMATIC,
    CAPTURE_MANUAL,
    DESCRIPTION_CHARACTERS_MAX,
    METADATA_KEY_CHARACTERS_MAX,
    METADATA_KEYS_MAX,
    METADATA_VALUE_CHARACTERS_MAX,
    PAYMENT_METHOD_CHARACTERS_MAX,
    Buyer,
    PaymentRequest,
)
from gateway.problems import Code, Problem
from gateway.settings import SANDBOX_TOKEN_PREFIX, PaymentRoute
from gateway.split_requests import splits_problem
from payments.mode import Mode
from payments.money import AMOUNT_MINOR_MAX


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
