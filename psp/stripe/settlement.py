"""Stripe's balance transactions as a settlement report: each charge that moved money, as it stands.

Stripe lists the newest first and knows no other order, so the time since is read in windows, each to
its end, and turned round. A window that has little is followed by one twice as long, one that has too
much is halved: so memory is bounded, and a quiet year costs a few requests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

from payments.attempts import PspAnswer
from psp.http_client import PspHttp
from psp.port import PspUnavailable, SettlementLine
from psp.stripe.classification import Shape, decoded, error_of, moment
from psp.stripe.currencies import from_stripe
from psp.stripe.format import METADATA_KEY, METADATA_MERCHANT, METADATA_ORDER
from psp.stripe.wire import Balance, BalancePage, Charge, PaymentIntent, Refund, RefundList

WINDOW_S = 3_600
PAGE_LINES = 100
"""As many as Stripe gives at once."""

WINDOW_LINES_MAX = 10_000
"""About 1 kB each are held, and so many pages are read for nothing where a window is halved."""

REQUEST_TIMEOUT_S = 30.0
"""For one page: a report may be slow, and nobody waits for a single page of it."""

_EXPAND = "expand[0]=data.source"

_CHARGES = frozenset({"charge", "payment"})
_REFUNDS = frozenset({"refund", "payment_refund", "refund_failure", "payment_refund_failure"})


async def settlement_lines(
    http: PspHttp, *, name: str, since: datetime
) -> AsyncIterator[SettlementLine]:
    """Yield what moved since then, oldest first; what moved in two windows is there twice. Raises PspUnavailable."""
    report = _Report(http, name)
    begin_s = int(since.timestamp())
    last_s = await report.last_s()
    window_s = WINDOW_S
    while begin_s <= last_s:
        lines = await report.window(begin_s, begin_s + window_s)
        if lines is None:
            if window_s == 1:
                raise PspUnavailable(name, f"more than {WINDOW_LINES_MAX} lines a second")
            window_s = max(1, window_s // 2)
            continue
        for line in lines:
            yield line
        begin_s += window_s
        if len(lines) < PAGE_LINES:
            window_s *= 2


class _Report:
    """One report being read."""

    def __init__(self, http: PspHttp, name: str) -> None:
        self._http = http
        self._name = name

    async def last_s(self) -> int:
        """Return the time of the newest movement: nothing is later; 0 where there is none."""
        page = await self._page(f"limit=1&{_EXPAND}")
        return page.data[0].created if page.data else 0

    async def window(self, begin_s: int, end_s: int) -> list[SettlementLine] | None:
        """Return the lines of one window, oldest first; None where there are too many. A charge that
        moved twice is there once, at its last movement.
        """
        lines: dict[str, SettlementLine] = {}
        after = ""
        count = 0
        while True:
            page = await self._page(
                f"limit={PAGE_LINES}&created[gte]={begin_s}&created[lt]={end_s}&{_EXPAND}{after}"
            )
            count += len(page.data)
            if count > WINDOW_LINES_MAX:
                return None
            for balance in page.data:
                await self._add(lines, balance)
            if not page.has_more or not page.data:
                # The newest came first, and the first of a charge counts: it is the latest.
                return list(reversed(lines.values()))
            after = f"&starting_after={page.data[-1].id}"

    async def _add(self, lines: dict[str, SettlementLine], balance: Balance) -> None:
        fee = 0
        if balance.type in _CHARGES:
            charge = self._whole(decoded(balance.source, Charge), balance.id)
            fee = balance.fee
        elif balance.type in _REFUNDS:
            refund = self._whole(decoded(balance.source, Refund), balance.id)
            if refund.charge is None or refund.charge in lines:
                return
            charge = await self._get(f"/v1/charges/{refund.charge}", Charge)
        else:
            # Payouts, fees and adjustments: no charge moved.
            return
        known = lines.get(charge.id)
        if known is None:
            lines[charge.id] = await self._line(charge, balance, fee)

    async def _line(self, charge: Charge, balance: Balance, fee: int) -> SettlementLine:
        metadata = charge.metadata
        if not metadata and charge.payment_intent is not None:
            path = f"/v1/payment_intents/{charge.payment_intent}"
            metadata = (await self._get(path, PaymentIntent)).metadata
        if (at := moment(balance.created)) is None:
            raise PspUnavailable(self._name, f"{balance.id} has no time")
        currency = charge.currency.upper()
        captured = charge.amount_captured
        if captured is None:
            captured = charge.amount if charge.captured else 0
        return SettlementLine(
            reference=charge.payment_intent or charge.id,
            psp_key=metadata.get(METADATA_KEY, ""),
            merchant_id=metadata.get(METADATA_MERCHANT, ""),
            order_key=_uuid(metadata.get(METADATA_ORDER)),
            amount_minor=self._minor(charge.amount, currency),
            captured_minor=self._minor(captured, currency),
            refunded_minor=self._minor(await self._refunded(charge, captured), currency),
            # Stripe takes its fee in the currency of the balance; another one's is no part of this line.
            fee_minor=self._minor(fee, currency) if balance.currency == charge.currency else 0,
            currency=currency,
            status=charge.status,
            at=at,
        )

    async def _refunded(self, charge: Charge, captured: int) -> int:
        """Return what was paid back. What a partial capture left is released, and no refund of money."""
        if charge.amount_refunded == 0 or captured == charge.amount:
            return charge.amount_refunded
        refunds = await self._get(f"/v1/refunds?charge={charge.id}&limit={PAGE_LINES}", RefundList)
        return sum(
            one.amount
            for one in refunds.data
            if one.status == "succeeded" and one.balance_transaction is not None
        )

    async def _page(self, query: str) -> BalancePage:
        return await self._get(f"/v1/balance_transactions?{query}", BalancePage)

    async def _get(self, path: str, shape: type[Shape]) -> Shape:
        answered = await self._http.request(
            "GET", path, headers={}, body=None, timeout_s=REQUEST_TIMEOUT_S
        )
        if isinstance(answered, PspAnswer):
            raise PspUnavailable(self._name, answered.message)
        if answered.status != 200:
            error = error_of(answered)
            raise PspUnavailable(self._name, f"HTTP {answered.status} {error.code or ''}".rstrip())
        return self._whole(decoded(answered.body, shape), path.partition("?")[0])

    def _whole(self, read: Shape | None, what: str) -> Shape:
        if read is None:
            raise PspUnavailable(self._name, f"{what} can't be read")
        return read

    def _minor(self, amount: int, currency: str) -> int:
        amount_minor = from_stripe(amount, currency)
        if amount_minor is None:
            raise PspUnavailable(self._name, f"{amount} {currency} is no amount of ours")
        return amount_minor


def _uuid(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        return None
