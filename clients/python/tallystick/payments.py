"""The operations of payments: what goes into each, and what comes out. Bound to clients elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from tallystick.errors import StillRunning
from tallystick.exchange import Pause, Steps
from tallystick.operations import (
    Call,
    KeyChoice,
    Listing,
    Operation,
    Page,
    fixed,
    page_of,
    segment,
)
from tallystick.record import Record
from tallystick.records import Capture, Payment, Refund, Transfer, Void
from tallystick.retrying import Surroundings

R = TypeVar("R", bound=Record)

PATH = "/v1/payments"

# A payment usually settles within a fraction of a second; one whose provider is away takes minutes.
LOOK_FIRST_S = 0.2
LOOK_S_MAX = 5.0
LOOK_GROWTH = 1.5


def create(
    *,
    amount: int,
    currency: str,
    payment_method: str,
    seller: str | None = None,
    splits: Sequence[Mapping[str, Any]] | None = None,
    capture: str | None = None,
    description: str | None = None,
    metadata: Mapping[str, str] | None = None,
    buyer: Mapping[str, str] | None = None,
    idempotency_key: UUID | str | None = None,
    key_name: str | None = None,
    wait_s: int = 0,
) -> Operation[Payment]:
    """Take a payment order, and return it as it stands then.

    ``amount`` is in minor units (cents, yen). The idempotency key becomes the payment's id: give it, or
    give ``key_name`` (such as a cart's id) to have it kept by the client's key store before anything is
    sent; else one is drawn, which is safe against everything but the end of this process. ``wait_s``
    asks the gateway to hold the answer for the outcome, at most 30 s; without it, or when that was not
    long enough, the payment ``is_under_way``: see ``wait``.

    ``splits`` share one charge among several sellers, instead of ``seller``: ``{"seller", "amount", "fee"}``
    each, the fee being the seller's own where it is left out; the amounts sum to ``amount``.

    Raises PaymentFailed when it was declined or failed otherwise, for good; Refused and BadRequest for
    a request that can't be; NotReached and ServerFailed when the gateway can't be asked, with
    ``may_have_run``: then call again with the same key, never with another one. KeyStoreFailed: nothing
    was sent.
    """
    members = {
        "amount": amount,
        "currency": currency,
        "payment_method": payment_method,
        "seller": seller,
        "splits": None if splits is None else list(splits),
        "capture": capture,
        "description": description,
        "metadata": metadata,
        "buyer": buyer,
    }
    return Call(
        method="POST",
        path=PATH,
        body=fixed(members),
        key=KeyChoice.of(idempotency_key, key_name),
        wait_s=wait_s,
        read=Payment,
    )


def retrieve(payment_id: UUID | str) -> Operation[Payment]:
    """Return a payment as it stands now. Raises ResourceMissing."""
    return _retrieve(payment_id)


def wait(
    payment_id: UUID | str, *, timeout_s: float = 60.0, through_action: bool = False
) -> Operation[Payment]:
    """Return a payment once it is no longer under way: it ended, or its buyer has to act.

    ``through_action``: go on waiting while the buyer has to act. Unlike ``create`` this returns a
    payment that failed. Raises StillRunning after ``timeout_s`` with the payment as it was last.
    """
    return _Waiting(_retrieve(payment_id), timeout_s, through_action)


def listed(
    *,
    limit: int | None = None,
    starting_after: UUID | str | None = None,
    ending_before: UUID | str | None = None,
    status: str | None = None,
    currency: str | None = None,
    created_gte: datetime | None = None,
    created_lt: datetime | None = None,
    amount_gte: int | None = None,
    amount_lte: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Operation[Page[Payment]]:
    """Return one page of payments, newest first; ``limit`` is 1 to 100, and 10 when left out."""
    query = _filters(status, currency, created_gte, created_lt, amount_gte, amount_lte, metadata)
    own = {"limit": limit, "starting_after": starting_after, "ending_before": ending_before}
    return _page({**own, **query})


def iterate(
    *,
    page_size: int = 100,
    status: str | None = None,
    currency: str | None = None,
    created_gte: datetime | None = None,
    created_lt: datetime | None = None,
    amount_gte: int | None = None,
    amount_lte: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Listing[Payment]:
    """Go through all payments that fit, newest first, page by page."""
    query = _filters(status, currency, created_gte, created_lt, amount_gte, amount_lte, metadata)
    return Listing(first=_page({"limit": page_size, **query}))


def transfers(payment_id: UUID | str) -> Operation[Page[Transfer]]:
    """Return every movement of money of a payment, in order."""
    return Call(method="GET", path=f"{_path(payment_id)}/transfers", read=page_of(Transfer))


def capture(
    payment_id: UUID | str,
    *,
    amount: int | None = None,
    idempotency_key: UUID | str | None = None,
    key_name: str | None = None,
    wait_s: int = 0,
) -> Operation[Capture]:
    """Take the authorized money, or ``amount`` of it. Keys and errors are as with ``create``."""
    key = KeyChoice.of(idempotency_key, key_name)
    return _acted(Capture, payment_id, "captures", {"amount": amount}, key, wait_s)


def void(
    payment_id: UUID | str,
    *,
    idempotency_key: UUID | str | None = None,
    key_name: str | None = None,
    wait_s: int = 0,
) -> Operation[Void]:
    """Let the authorized money go. Keys and errors are as with ``create``."""
    return _acted(Void, payment_id, "void", {}, KeyChoice.of(idempotency_key, key_name), wait_s)


def refund(
    payment_id: UUID | str,
    *,
    amount: int | None = None,
    reason: str | None = None,
    idempotency_key: UUID | str | None = None,
    key_name: str | None = None,
    wait_s: int = 0,
) -> Operation[Refund]:
    """Pay back what was captured, or ``amount`` of it. Keys and errors are as with ``create``."""
    key = KeyChoice.of(idempotency_key, key_name)
    return _acted(Refund, payment_id, "refunds", {"amount": amount, "reason": reason}, key, wait_s)


def refunds(payment_id: UUID | str) -> Operation[Page[Refund]]:
    """Return a payment's refunds."""
    return Call(method="GET", path=f"{_path(payment_id)}/refunds", read=page_of(Refund))


def retrieve_refund(refund_id: str) -> Operation[Refund]:
    """Return a refund as it stands now. Raises ResourceMissing."""
    return Call(method="GET", path=f"/v1/refunds/{segment(refund_id)}", read=Refund)


@dataclass(frozen=True, slots=True)
class _Waiting:
    look: Call[Payment]
    timeout_s: float
    through_action: bool

    def steps(self, surroundings: Surroundings) -> Steps[Payment]:
        until_s = surroundings.monotonic_s() + self.timeout_s
        pause_s = LOOK_FIRST_S
        while True:
            # A look ends with the wait, however long the policy would go on trying.
            look_s = max(LOOK_FIRST_S, until_s - surroundings.monotonic_s())
            policy = surroundings.policy
            bounded = replace(policy, deadline_s=min(policy.deadline_s, look_s))
            payment = yield from self.look.steps(replace(surroundings, policy=bounded))
            is_for_buyer = payment.status == "requires_action"
            if not payment.is_under_way and not (is_for_buyer and self.through_action):
                return payment
            left_s = until_s - surroundings.monotonic_s()
            if left_s <= 0:
                raise StillRunning(payment)
            # Half of it drawn, so that many that wait don't look all at once.
            drawn_s = pause_s * (1 + surroundings.draw()) / 2
            yield Pause(min(drawn_s, left_s))
            pause_s = min(LOOK_S_MAX, pause_s * LOOK_GROWTH)


def _path(payment_id: UUID | str) -> str:
    return f"{PATH}/{segment(str(payment_id))}"


def _retrieve(payment_id: UUID | str) -> Call[Payment]:
    return Call(method="GET", path=_path(payment_id), read=Payment)


def _page(query: Mapping[str, Any]) -> Call[Page[Payment]]:
    return Call(method="GET", path=PATH, query=query, read=page_of(Payment))


def _filters(
    status: str | None,
    currency: str | None,
    created_gte: datetime | None,
    created_lt: datetime | None,
    amount_gte: int | None,
    amount_lte: int | None,
    metadata: Mapping[str, str] | None,
) -> dict[str, Any]:
    return {
        "status": status,
        "currency": currency,
        "created[gte]": created_gte,
        "created[lt]": created_lt,
        "amount[gte]": amount_gte,
        "amount[lte]": amount_lte,
        **{f"metadata[{name}]": value for name, value in (metadata or {}).items()},
    }


def _acted(
    kind: type[R],
    payment_id: UUID | str,
    action: str,
    members: Mapping[str, Any],
    key: KeyChoice,
    wait_s: int,
) -> Call[R]:
    return Call(
        method="POST",
        path=f"{_path(payment_id)}/{action}",
        body=fixed(members),
        key=key,
        wait_s=wait_s,
        read=kind,
    )
