"""Whether each cart was charged once: the client's word, its key store, and the providers' own records. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loadtest.client.job import Paid, amount_minor

# So many of a kind are told; all are counted.
TOLD_MAX = 10


class Captured(NamedTuple):
    """A charge that took money, as a provider tells it."""

    order_key: str
    amount_minor: int


def violations(
    carts: Sequence[int],
    paid: Sequence[Paid],
    keys: Mapping[int, str],
    captured: Sequence[Captured],
) -> list[str]:
    """Return what is not as it has to be; nothing when every cart was charged once."""
    found: list[str] = []
    payments: dict[int, set[tuple[str, str]]] = {}
    for line in paid:
        payments.setdefault(line.cart, set()).add((line.payment_id, line.status))
    charges = Counter(charge.order_key for charge in captured)
    amounts = {charge.order_key: charge.amount_minor for charge in captured}
    _tell(found, "never came to an end", [cart for cart in carts if cart not in payments])
    _tell(found, "have several ends", [cart for cart in payments if len(payments[cart]) > 1])
    _tell(
        found,
        "did not succeed",
        [cart for cart in payments if {status for _, status in payments[cart]} != {"succeeded"}],
    )
    _tell(found, "have no key in the store", [cart for cart in carts if cart not in keys])
    _tell(
        found,
        "were paid under another key than the one that was kept",
        [
            cart
            for cart in payments
            if {payment_id for payment_id, _ in payments[cart]} != {keys.get(cart)}
        ],
    )
    _tell(
        found,
        "were not charged once",
        [cart for cart in carts if charges.get(keys.get(cart, ""), 0) != 1],
    )
    _tell(
        found,
        "were charged another amount",
        [
            cart
            for cart in carts
            if keys.get(cart) in amounts and amounts[keys[cart]] != amount_minor(cart)
        ],
    )
    strange = set(charges) - set(keys.values())
    if strange:
        found.append(
            f"{len(strange)} charges of keys that no cart has: {sorted(strange)[:TOLD_MAX]}"
        )
    return found


def _tell(found: list[str], what: str, carts: Sequence[int]) -> None:
    if carts:
        found.append(f"{len(carts)} carts {what}: {sorted(carts)[:TOLD_MAX]}")
