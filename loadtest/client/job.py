"""What one process of a storefront is told, and what it writes down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path

import msgspec

AMOUNT_MINOR_FIRST = 1_000
CURRENCY = "USD"

# By the cart's number modulo a hundred; the rest approves at once. Each of them ends as succeeded.
_ODD_TOKENS: Mapping[int, str] = {
    7: "tok_slow_300",
    21: "tok_error_500",
    42: "tok_charge_then_timeout",
    77: "tok_rate_limited",
}


class Kind(StrEnum):
    """Which of the two clients a process uses."""

    ASYNC = "async"
    SYNC = "sync"


class ClientJob(msgspec.Struct, frozen=True, kw_only=True):
    """Handed over on the process's stdin."""

    url: str
    api_key: str
    kind: Kind
    store_path: str
    """The key store that this process and its successors share."""
    directory: str
    """Where it writes what it has paid, and what it met."""
    name: str
    carts: list[int]
    """The numbers of what is still to be paid."""
    rate_per_s: float


class Paid(msgspec.Struct, frozen=True, kw_only=True):
    """One cart that came to its end."""

    cart: int
    payment_id: str
    status: str
    call_count: int
    """Calls of the client that it took this process; each may have made several attempts."""


class Met(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, or one whole call, that failed."""

    what: str
    """The class of the error."""
    is_final: bool
    """Whether the client gave up; the storefront then called it again under the same name."""


def cart_name(number: int) -> str:
    """The name under which a cart's key is kept."""
    return f"cart-{number}"


def amount_minor(number: int) -> int:
    """What a cart costs: no two cost the same, so that a charge tells whose it is."""
    return AMOUNT_MINOR_FIRST + number


def token(number: int) -> str:
    """What a cart is paid with."""
    return _ODD_TOKENS.get(number % 100, "tok_approve")


def paid_path(directory: Path, name: str) -> Path:
    return directory / f"{name}.paid.jsonl"


def met_path(directory: Path, name: str) -> Path:
    return directory / f"{name}.met.jsonl"


def read_lines(paths: Iterable[Path], kind: type[Paid] | type[Met]) -> list[Paid | Met]:
    """Return the lines of these files; the last one of a process that was killed may be cut off."""
    found: list[Paid | Met] = []
    for path in paths:
        if path.exists():
            lines = path.read_bytes().split(b"\n")[:-1]
            found += [msgspec.json.decode(line, type=kind) for line in lines]
    return found
