"""The PSP port: what every connector can do, and how it says what happened.

A connector never raises for what a PSP answers or fails to answer: it classifies
(payments.attempts). It raises only for defects. It never retries by itself: the owner does, in one
bounded place, because only the owner knows whether another send is safe.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from payments.attempts import PspAnswer
from payments.commands import HostedPage


class ChargeTerms(NamedTuple):
    """What to charge. Merchant and order travel as metadata, so that webhooks find home."""

    amount_minor: int
    currency: str
    token: str
    merchant_id: str
    order_key: UUID
    capture: bool
    """True charges at once; False only authorizes."""
    description: str = ""
    hosted: HostedPage | None = None
    """The buyer pays on a page of the PSP instead: ``token`` is then HOSTED_METHOD, and the answer is
    REQUIRES_ACTION with the page's URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a PSP promises. The owner's decisions read this, never the PSP's name."""

    key_lifetime_s: int
    """How long the PSP remembers an idempotency key. A key is sent only while younger than this
    less an hour.
    """
    replays_declines: bool
    replays_5xx: bool
    can_burn_key: bool
    """Whether cancel() of a key makes sure that it never charges, even if it was never seen."""
    queries_by: frozenset[str]
    """Subset of {"key", "reference"}."""
    currencies: frozenset[str] | None
    """None: every ISO 4217 currency."""
    minimum_minor: dict[str, int]
    """Smallest charge by currency; a currency not named has 1."""
    token_prefixes: tuple[str, ...]
    """What its tokens begin with; HOSTED_METHOD is among them where it serves payment pages."""
    is_sandbox: bool
    multiple_minor: Mapping[str, int] = field(default_factory=dict)
    """What an amount must be a multiple of, by currency; a currency not named has 1."""
    captures_once: bool = False
    """Whether one capture is all: what it leaves of the authorization is released with it."""
    prepares: bool = False
    """Whether a charge runs only by a second send, which names the reference that the first was
    answered with (PREPARED). Between the two the owner commits that reference, so whatever becomes of
    the second can be asked for, and canceled, by it at any time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementLine:
    """One line of a settlement report: what the PSP says it did, in minor units."""

    reference: str
    psp_key: str
    merchant_id: str
    order_key: UUID | None
    amount_minor: int
    captured_minor: int
    refunded_minor: int
    fee_minor: int
    currency: str
    status: str
    at: datetime


class Psp(Protocol):
    """One account at one PSP. Every network method returns within ``timeout_s`` (seconds).

    ``charge``, ``capture``, ``void`` and ``refund`` each run under a key of their own, and their
    answer is about that key: APPROVED means done, with the amount that it moved as
    ``captured_minor`` (of a charge that only authorizes, what is held as ``authorized_minor``);
    DECLINED_FINAL refused for good. ``query`` and ``cancel`` are questions about a key that was sent
    before, so they never answer NOT_SENT: that the question did not arrive proves nothing about the
    charge.
    """

    @property
    def name(self) -> str: ...

    @property
    def account(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def canonical_charge(self, terms: ChargeTerms) -> bytes:
        """Return the exact request body: same terms, same bytes, in every release. It is stored."""
        ...

    async def charge(
        self, psp_key: str, request: bytes, *, reference: str | None = None, timeout_s: float
    ) -> PspAnswer:
        """Send one charge, or authorization, as ``canonical_charge`` fixed it.

        Where the PSP ``prepares``, this registers it without a ``reference``, and runs it with the one
        that the books hold. Elsewhere ``reference`` means nothing.
        """
        ...

    async def capture(
        self, psp_key: str, reference: str, amount_minor: int, *, timeout_s: float
    ) -> PspAnswer:
        """Capture all or a part of what is left of an authorization; the rest stays authorized."""
        ...

    async def void(self, psp_key: str, reference: str, *, timeout_s: float) -> PspAnswer:
        """Give back what is left of an authorization, also after a part of it was captured."""
        ...

    async def refund(
        self, psp_key: str, reference: str, amount_minor: int, *, timeout_s: float
    ) -> PspAnswer: ...

    async def query(self, *, psp_key: str, reference: str | None, timeout_s: float) -> PspAnswer:
        """Ask what became of a key: a charge's, or a capture's, void's or refund's own.

        "Not found" is UNKNOWN: the request may still be on its way.
        """
        ...

    async def cancel(self, *, psp_key: str, reference: str | None, timeout_s: float) -> PspAnswer:
        """Ask that the key never charges (any more), which voids a mere authorization.

        CANCELED only when the PSP confirmed it; APPROVED if it was too late.
        """
        ...

    def settlement_report(self, *, since: datetime) -> AsyncIterator[SettlementLine]:
        """Stream what the PSP did since then, oldest first. Raises PspUnavailable.

        A line is a charge as it stands; one that changed again comes again in a later report. It is
        complete: a charge made since then that was answered before the report is asked for is in it.
        """
        ...

    async def close(self) -> None: ...


class PspUnavailable(Exception):
    """A report could not be read; nothing is known. Carries the PSP's name."""

    def __init__(self, psp: str, reason: str) -> None:
        super().__init__(f"PSP {psp} can't be read: {reason}")
        self.psp = psp
        self.reason = reason
