"""What goes into the simulator's log. Stored: fields are only ever added, with a default."""

from __future__ import annotations

from uuid import UUID

import msgspec

from psp.simulator.page_terms import HostedTerms
from psp.simulator.wire import ChangeKind, ChargeRequest, ChargeStatus, Denial


class OpenRecord(msgspec.Struct, frozen=True, kw_only=True, tag="open", tag_field="t"):
    """The first record of a log: whose it is. Another seed would give other references."""

    v: int
    name: str
    seed: int


class ChargeRecord(msgspec.Struct, frozen=True, kw_only=True, tag="charge", tag_field="t"):
    """A charge was made, authorized, declined, or waits for its buyer."""

    key: str
    merchant: str
    order_key: UUID | None
    amount: int
    currency: str
    capture: bool
    status: ChargeStatus
    decline_code: str | None
    fingerprint: int
    refuses_until_ms: int
    at_ms: int
    denial: Denial = Denial.REFUSED
    """What is said of it until ``refuses_until_ms``."""
    hosted: HostedTerms | msgspec.UnsetType = msgspec.UNSET


class ChangeRecord(msgspec.Struct, frozen=True, kw_only=True, tag="change", tag_field="t"):
    """Something happened to a charge, or was refused for good (``refusal``)."""

    charge_key: str
    kind: ChangeKind
    key: str | None
    """The change's own idempotency key; None where nobody has to repeat it."""
    amount: int
    fingerprint: int
    refusal: str | None
    at_ms: int
    decline_code: str | None = None
    """Of a FAIL: why; None: NOT_CONFIRMED."""


class BurnRecord(msgspec.Struct, frozen=True, kw_only=True, tag="burn", tag_field="t"):
    """A key that was never used is canceled: it never charges."""

    key: str
    at_ms: int


class IntentRecord(msgspec.Struct, frozen=True, kw_only=True, tag="intent", tag_field="t"):
    """A charge was announced in Stripe's way: nothing runs before it is confirmed."""

    key: str
    request: ChargeRequest
    metadata: dict[str, str]
    fingerprint: int
    at_ms: int


class FailureRecord(msgspec.Struct, frozen=True, kw_only=True, tag="failure", tag_field="t"):
    """A failure is what each later request of a key is answered with, as Stripe does it."""

    key: str
    at_ms: int


Record = OpenRecord | ChargeRecord | ChangeRecord | BurnRecord | IntentRecord | FailureRecord
