"""Minor units as people write amounts."""

from __future__ import annotations

from payments.currencies import EXPONENTS


def amount_text(amount_minor: int, currency: str) -> str:
    """Return such as ``19.99 USD``; for a currency that we don't know, the bare minor units."""
    exponent = EXPONENTS.get(currency)
    if exponent is None:
        return f"{amount_minor} {currency} (minor units)"
    sign = "-" if amount_minor < 0 else ""
    whole, part = divmod(abs(amount_minor), 10**exponent)
    digits = f".{part:0{exponent}d}" if exponent else ""
    return f"{sign}{whole}{digits} {currency}"
