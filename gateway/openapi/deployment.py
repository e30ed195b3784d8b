"""What a deployment's providers take, written into its document: tokens, currencies and smallest amounts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from gateway.payment_requests import PaymentRequest
from gateway.settings import PaymentRoute
from payments.commands import HOSTED_METHOD
from payments.currencies import EXPONENTS


def narrowed(document: dict[str, Any], routes: Sequence[PaymentRoute]) -> dict[str, Any]:
    """Return the document with the rules that follow from the providers configured.

    Of both modes together: what a key's own mode can't have is refused, and told in words.
    """
    if not routes:
        return document
    schemas = document["components"]["schemas"]
    # A payment page is no token: it is asked for in a checkout, by its own member.
    prefixes = sorted(
        {prefix for route in routes for prefix in route.token_prefixes} - {HOSTED_METHOD}
    )
    pattern = rf"^(?:{_any_of(prefixes)})[ -~]*$"
    for shape in schemas.values():
        for name, member in shape.get("properties", {}).items():
            if name == "payment_method":
                for text in _texts_of(member):
                    text["pattern"] = pattern
            elif name == "currency" and "enum" in member:
                member["enum"] = _currencies(routes)
    payment = schemas.get(PaymentRequest.__name__)
    rules = [rule for prefix in prefixes for rule in _rules(prefix, routes)]
    if payment is not None and rules:
        payment["allOf"] = rules
    return document


def _texts_of(member: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the texts in a member's shape that have a pattern, also where it may be null."""
    return [each for each in (member, *member.get("anyOf", ())) if "pattern" in each]


def _rules(prefix: str, routes: Sequence[PaymentRoute]) -> list[dict[str, object]]:
    """Return what holds for tokens with that beginning, where it is less than for all."""
    takers = [route for route in routes if prefix in route.token_prefixes]
    is_its_token = {"payment_method": {"pattern": f"^{_any_of([prefix])}"}}
    rules: list[dict[str, object]] = []
    currencies = _currencies(takers)
    if currencies != _currencies(routes):
        rules.append(_when(is_its_token, {"currency": {"enum": currencies}}))
    named = {currency for route in takers for currency in route.minimum_minor}
    for currency in sorted(named & set(currencies)):
        minimum_minor = min(
            route.minimum_minor.get(currency, 1)
            for route in takers
            if route.takes_currency(currency)
        )
        if minimum_minor > 1:
            condition = {**is_its_token, "currency": {"const": currency}}
            rules.append(_when(condition, {"amount": {"minimum": minimum_minor}}))
    return rules


def _when(condition: dict[str, Any], rule: dict[str, Any]) -> dict[str, object]:
    return {
        "if": {"properties": condition, "required": sorted(condition)},
        "then": {"properties": rule},
    }


def _currencies(routes: Sequence[PaymentRoute]) -> list[str]:
    return sorted(
        currency
        for currency in EXPONENTS
        if any(route.takes_currency(currency) for route in routes)
    )


def _any_of(prefixes: Sequence[str]) -> str:
    return "|".join(re.escape(prefix) for prefix in prefixes)
