"""The bytes of a charge at Stripe, fixed before it is sent, and what this account promises. Pure.

A charge is a PaymentIntent that is created without being confirmed, and confirmed by a second request
once its id is in the books. Both bodies are fixed together.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlencode

from psp.port import Capabilities, ChargeTerms
from psp.stripe.currencies import CURRENCIES, MINIMUMS_MINOR, MULTIPLES_MINOR, to_stripe

API_VERSION = "2024-06-20"
"""The shapes that ``psp.stripe.wire`` reads are those of this version, whatever the account's own is."""

KEY_LIFETIME_S = 24 * 3_600
"""Stripe may forget a key once it is 24 hours old."""

TOKEN_PREFIX = "pm_"  # noqa: S105  # where ids of PaymentMethods begin, no secret

METADATA_KEY = "tally_key"
METADATA_CHANGE = "tally_capture"
METADATA_MERCHANT = "tally_merchant"
METADATA_ORDER = "tally_order"

CONFIRM_SUFFIX = "-confirm"
"""A request under a key of its own: Stripe knows a key by one request."""

# What would be asked for can't be said to Stripe: nothing is ever sent.
_REFUSED = b"!"


class ChargeBodies(NamedTuple):
    """The two request bodies of one charge."""

    create: bytes
    confirm: bytes


def capabilities(*, is_live: bool) -> Capabilities:
    return Capabilities(
        key_lifetime_s=KEY_LIFETIME_S,
        replays_declines=True,
        replays_5xx=True,
        can_burn_key=False,
        queries_by=frozenset({"reference"}),
        currencies=CURRENCIES,
        minimum_minor=dict(MINIMUMS_MINOR),
        multiple_minor=dict(MULTIPLES_MINOR),
        token_prefixes=(TOKEN_PREFIX,),
        is_sandbox=not is_live,
        captures_once=True,
        prepares=True,
    )


def canonical_charge(terms: ChargeTerms, *, return_url: str) -> bytes:
    """Return both bodies, one a line; form encoding leaves no line break within one."""
    if terms.currency not in CURRENCIES:
        return _REFUSED + b"currency_not_supported"
    create: dict[str, str] = {
        "amount": str(to_stripe(terms.amount_minor, terms.currency)),
        "currency": terms.currency.lower(),
        "payment_method": terms.token,
        "payment_method_types[0]": "card",
        "capture_method": "automatic" if terms.capture else "manual",
        f"metadata[{METADATA_MERCHANT}]": terms.merchant_id,
        f"metadata[{METADATA_ORDER}]": str(terms.order_key),
    }
    if terms.description:
        create["description"] = terms.description
    confirm = {"expand[0]": "latest_charge"}
    if return_url:
        confirm["return_url"] = return_url
    return form(create) + b"\n" + form(confirm)


def bodies_of(request: bytes, psp_key: str) -> ChargeBodies | str:
    """Return what ``canonical_charge`` fixed, under its key; a code where nothing may be sent."""
    if request.startswith(_REFUSED):
        return request.removeprefix(_REFUSED).decode()
    create, _, confirm = request.partition(b"\n")
    return ChargeBodies(create + b"&" + form({f"metadata[{METADATA_KEY}]": psp_key}), confirm)


def form(fields: dict[str, str]) -> bytes:
    """Return fields as Stripe takes them: ``application/x-www-form-urlencoded``, in this order."""
    return urlencode(fields).encode()
