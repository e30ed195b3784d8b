"""What goes over the wire and into the log, as msgspec shapes. Amounts are minor units."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec

from psp.simulator.page_terms import HostedTerms

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What msgspec raises on bytes from outside: also broken UTF-8, and nesting too deep for the stack."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

AMOUNT_MINOR_MAX = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""

KEY_CHARACTERS_MAX = 255
"""Longest idempotency key, as at the PSPs that we imitate."""

TOKEN_CHARACTERS_MAX = 255
"""Longest token, as in the order that it came with: one over it would be refused for ever, not
declined.
"""

NOT_CONFIRMED = "authentication_failed"
"""The decline code of a charge that its buyer did not confirm (3-D Secure)."""

Amount = Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MINOR_MAX)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]
Currency = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
Key = Annotated[str, msgspec.Meta(pattern="^[!-~]+$", max_length=KEY_CHARACTERS_MAX)]


class ChargeStatus(StrEnum):
    """Where a charge stands. The oracle lists the first four; the others never moved money."""

    # Enum's own hash runs Python code for every look-up; it costs a third of a replay's time.
    __hash__ = str.__hash__

    CAPTURED = "captured"
    AUTHORIZED = "authorized"
    DECLINED = "declined"
    VOIDED = "voided"
    REQUIRES_ACTION = "requires_action"
    CANCELED = "canceled"


class ChangeKind(StrEnum):
    """What can happen to a charge after it was made."""

    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    COMPLETE = "complete"
    """The buyer confirmed (3-D Secure)."""
    FAIL = "fail"
    """The buyer did not confirm."""
    CANCEL = "cancel"
    DISPUTE = "dispute"
    """The buyer's bank takes an amount back, until the dispute ends."""
    DISPUTE_WON = "dispute_won"
    DISPUTE_LOST = "dispute_lost"


class Denial(StrEnum):
    """What is said instead of the truth. Stored in the log; never rename."""

    REFUSED = "refused"
    """Sent again or asked for: 503 "did not run"."""
    IN_PROGRESS = "in_progress"
    """Sent again or asked for: 409, as if its twin still ran."""
    NOT_FOUND = "not_found"
    """Asked for: 404. Sent again: the truth."""
    FAILED = "failed"
    """Sent, and sent again: the same stored 500. Asked for: the truth."""


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose order a charge belongs to, carried for the merchant's books."""

    merchant: Annotated[str, msgspec.Meta(max_length=64)] = ""
    order_key: UUID | None = None


class ChargeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/charges``. Stored by its sender and re-sent: fields are only ever
    added.
    """

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    amount: Amount
    currency: Currency
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=TOKEN_CHARACTERS_MAX)]
    capture: bool = True
    description: Annotated[str, msgspec.Meta(max_length=500)] = ""
    metadata: Metadata = Metadata()
    hosted: HostedTerms | msgspec.UnsetType = msgspec.UNSET


class DisputeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /_sim/disputes/{reference}``; without an amount it is about all that is left."""

    amount: Amount | None = None


class ChangeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a capture or refund; a void has none."""

    amount: Amount


class AnswerBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every JSON answer about a key: a charge as it stands, or ``code`` saying why
    there is none.
    """

    object: str = "problem"
    """``charge``, the kind of a change (``refund`` …), or ``problem``."""
    key: str | None = None
    """Of a ``problem`` only where it says that the key's request did not run, or is canceled."""
    reference: str | None = None
    status: ChargeStatus | None = None
    amount: int | None = None
    currency: str | None = None
    captured: int = 0
    refunded: int = 0
    decline_code: str | None = None
    next_action_url: str | None = None
    at: Instant | None = None
    """When the charge or change was made."""
    code: str | None = None
    message: str = ""
    retry_after_s: float | None = None
    dispute: str | None = None
    """In a webhook of a dispute its id; then ``disputed`` is what it is about."""
    disputed: int = 0
    charge_key: str | None = None
    """In a webhook of a change its charge's key; ``key`` is the change's own, ``amount`` what it moved."""


class WebhookBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a webhook: a charge as it stood then, or a key that was canceled unused."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    type: str
    created_at: Instant
    data: AnswerBody


class OracleRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``GET /_oracle/charges``."""

    n: int
    reference: str
    key: str
    merchant: str
    order_key: str | None
    amount: int
    currency: str
    status: ChargeStatus
    captured: int
    refunded: int
    at: Instant
    charged_back: int = 0
    """What disputes that were lost took of it."""
    changed: int = 0
    """Which of all changes was its last one; 0: none since it was made."""


class SettlementRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``GET /v1/settlements``: a charge that moved money, as it stands."""

    reference: str
    key: str
    merchant: str
    order_key: UUID | None
    amount: int
    captured: int
    refunded: int
    fee: int
    currency: str
    status: ChargeStatus
    at: Instant


class CurrencyTotals(msgspec.Struct, kw_only=True):
    """Sums of one currency."""

    captured: int = 0
    refunded: int = 0
    fee: int = 0
    charged_back: int = 0


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The body of ``GET /_oracle/totals``."""

    charges: int
    """How many rows the oracle has; the last one's ``n``."""
    by_status: dict[str, int]
    by_currency: dict[str, CurrencyTotals]
    canceled_keys: int
    changes: int = 0
    """How many captures, voids, refunds and the like there were."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an experimenter has switched on. Lost at a restart, on purpose."""

    down: bool = False
    """Refuses ``tok_down`` with 503 "did not run"."""
    outage: bool = False
    """Refuses everything under ``/v1`` with 503 "did not run"."""
    latency_ms_median: Annotated[float, msgspec.Meta(ge=0, le=60_000)] = 0.0
    latency_ms_sigma: Annotated[float, msgspec.Meta(ge=0, le=3)] = 0.0
    webhooks: bool = False
    """Sends webhooks, if it was told where to."""


class WebhookFaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How webhooks go wrong, each with its part of the events. Drawn by seed and event."""

    duplicate: Rate = 0.0
    """Sent a second time, after it was taken."""
    reorder: Rate = 0.0
    """A ``charge.processing`` of the same charge follows what came later."""
    forge: Rate = 0.0
    """Another one comes first: the opposite outcome, signed by somebody else."""
    replay: Rate = 0.0
    """Another one comes first: the same, signed an hour ago."""
    drop: Rate = 0.0
    """Never sent."""
    delay_ms: Annotated[int, msgspec.Meta(ge=0, le=600_000)] = 0
    """How long each is held back, up to this: drawn."""


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wrong with the whole simulator, switched at run time. Lost at a restart, on purpose."""

    down: bool = False
    """Refuses everything under ``/v1`` with 503 "did not run"."""
    slow_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 0
    """Thinks so much longer about everything under ``/v1``."""
    rates: dict[str, Rate] = {}
    """By sandbox token: the part of the approving charges that fare as if they carried that token."""
    webhooks: WebhookFaults | None = None
    """Sends webhooks, whatever the scenario says, and these wrongly."""
    refuse_ms: Annotated[int, msgspec.Meta(ge=0, le=600_000)] = 0
    """Closes the port for so long once, so that connections are refused; then as the others say."""

    def __post_init__(self) -> None:
        if sum(self.rates.values()) > 1 + 1e-9:
            raise ValueError("rates: they must not exceed 1 together")


def instant(at_ms: int) -> datetime:
    """Return milliseconds since 1970 as an aware UTC datetime, exact to the millisecond."""
    return _EPOCH + timedelta(milliseconds=at_ms)
