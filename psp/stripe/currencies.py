"""Amounts as Stripe counts them, and which it takes. Pure.

Stripe counts in a currency's smallest unit, as ISO 4217 does, but for a few special cases. Where its
documentation leaves a factor open (UGX is listed both ways, and MGA has no minor unit there), the
currency is left out: a factor of 100 that is wrong charges a hundredfold.
"""

from __future__ import annotations

from collections.abc import Mapping

from payments.currencies import EXPONENTS

_SPECIAL_FACTORS: Mapping[str, int] = {"ISK": 100}
"""Without decimals in ISO 4217, and given to Stripe with two, which are always zero."""

_TAKEN = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BIF BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF CLP
    CNY COP CRC CVE CZK DJF DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GNF GTQ GYD HKD HNL HTG HUF
    IDR ILS INR ISK JMD JPY KES KGS KHR KMF KRW KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR
    MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD
    SCR SEK SGD SHP SLE SOS SRD SZL THB TJS TOP TRY TTD TWD TZS UAH USD UYU UZS VND VUV WST XAF XCD XOF
    XPF YER ZAR ZMW
    BHD JOD KWD OMR TND
"""

CURRENCIES = frozenset(_TAKEN.split()).intersection(EXPONENTS)

MULTIPLES_MINOR: Mapping[str, int] = {"BHD": 10, "JOD": 10, "KWD": 10, "OMR": 10, "TND": 10}
"""Three decimals, of which card networks carry two: Stripe wants the last digit to be 0."""

MINIMUMS_MINOR: Mapping[str, int] = {
    "AED": 200,
    "AUD": 50,
    "BRL": 50,
    "CAD": 50,
    "CHF": 50,
    "CZK": 1_500,
    "DKK": 250,
    "EUR": 50,
    "GBP": 30,
    "HKD": 400,
    "HUF": 17_500,
    "INR": 50,
    "JPY": 50,
    "MXN": 1_000,
    "MYR": 200,
    "NOK": 300,
    "NZD": 50,
    "PLN": 200,
    "RON": 200,
    "SEK": 300,
    "SGD": 50,
    "THB": 1_000,
    "USD": 50,
}
"""Stripe's smallest charges. It may ask for more where it settles in another currency; then it says so."""


def to_stripe(amount_minor: int, currency: str) -> int:
    """Return minor units of ISO 4217 as Stripe counts them."""
    return amount_minor * _SPECIAL_FACTORS.get(currency, 1)


def from_stripe(amount: int, currency: str) -> int | None:
    """Return what Stripe counts in minor units of ISO 4217; None where it is no whole number of them."""
    whole, rest = divmod(amount, _SPECIAL_FACTORS.get(currency, 1))
    return whole if rest == 0 and currency in EXPONENTS else None
