"""What both sandbox connectors share: their promises, and the bytes of a charge."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import msgspec

from payments.commands import HOSTED_METHOD
from psp.port import Capabilities, ChargeTerms, SettlementLine
from psp.simulator.behaviour import TOKEN_PREFIX
from psp.simulator.page_terms import HostedTerms
from psp.simulator.wire import ChargeRequest, Metadata, SettlementRow

REQUEST_VERSION = 1
"""Raised when the meaning of a field changes; stored requests keep the version they were made with.
"""

KEY_LIFETIME_S = 24 * 3_600
"""What we promise, as the PSPs that we imitate do; the simulator's log in fact forgets no key."""

CAPABILITIES = Capabilities(
    key_lifetime_s=KEY_LIFETIME_S,
    replays_declines=True,
    replays_5xx=False,
    can_burn_key=True,
    queries_by=frozenset({"key", "reference"}),
    currencies=None,
    minimum_minor={},
    token_prefixes=(TOKEN_PREFIX, HOSTED_METHOD),
    is_sandbox=True,
)

_SORTED = msgspec.json.Encoder(order="sorted")


def canonical_charge(terms: ChargeTerms) -> bytes:
    """Return the request body: JSON with sorted keys and every field written out."""
    page = terms.hosted
    request = ChargeRequest(
        v=REQUEST_VERSION,
        amount=terms.amount_minor,
        currency=terms.currency,
        token=terms.token,
        capture=terms.capture,
        description=terms.description,
        metadata=Metadata(merchant=terms.merchant_id, order_key=terms.order_key),
        hosted=msgspec.UNSET if page is None else HostedTerms(*page),
    )
    return _SORTED.encode(request)


async def settlement_lines(rows: Iterable[SettlementRow]) -> AsyncIterator[SettlementLine]:
    for row in rows:
        yield settlement_line(row)


def settlement_line(row: SettlementRow) -> SettlementLine:
    return SettlementLine(
        reference=row.reference,
        psp_key=row.key,
        merchant_id=row.merchant,
        order_key=row.order_key,
        amount_minor=row.amount,
        captured_minor=row.captured,
        refunded_minor=row.refunded,
        fee_minor=row.fee,
        currency=row.currency,
        status=row.status.value,
        at=row.at,
    )
