"""The connector to Stripe: one PaymentIntent an order, created unconfirmed, confirmed once its id is kept.

The secret key travels in a header of the HTTP session and nowhere else. Nothing is ever tried twice in
here: the owner knows whether another send is safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from urllib.parse import quote

from payments.attempts import PspAnswer
from psp.classification import not_sent, of_another_request, unknown
from psp.http_client import HttpAnswer, PspHttp
from psp.port import Capabilities, ChargeTerms, SettlementLine
from psp.settings import CONNECTIONS_MAX
from psp.stripe import format as stripe_format
from psp.stripe.changes import (
    classify_capture,
    classify_refund,
    classify_void,
    of_capture,
    of_refund,
)
from psp.stripe.classification import (
    classify_cancel,
    classify_confirm,
    classify_create,
    declined,
    decoded,
    error_of,
    is_over,
    never_ran,
    of_intent,
    refused,
)
from psp.stripe.currencies import to_stripe
from psp.stripe.settlement import settlement_lines
from psp.stripe.wire import PaymentIntent, RefundList

STRIPE_URL = "https://api.stripe.com"

ANSWER_BYTES_MAX = 4 * 1_024 * 1_024
"""Largest answer that is read: a page of a hundred balance transactions with their charges has about
half a megabyte.
"""

REFUNDS_MAX = 100
"""As many refunds of one charge are looked through for a key; Stripe gives no more a page."""

_EXPAND_CHARGE = "?expand[0]=latest_charge"


class StripePsp:
    """One account at Stripe. Build it anywhere; use and close it in one event loop."""

    def __init__(
        self,
        *,
        name: str,
        account: str,
        secret_key: str,
        is_live: bool,
        return_url: str,
        url: str = STRIPE_URL,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        """``account`` that begins with ``acct_`` is a connected one, in whose name everything is asked."""
        self._name = name
        self._account = account
        self._return_url = return_url
        self._capabilities = stripe_format.capabilities(is_live=is_live)
        headers = {
            "Authorization": f"Bearer {secret_key}",
            "Stripe-Version": stripe_format.API_VERSION,
        }
        if account.startswith("acct_"):
            headers["Stripe-Account"] = account
        self._http = PspHttp(
            url,
            headers=headers,
            connections_max=connections_max,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )

    @property
    def name(self) -> str:
        return self._name

    @property
    def account(self) -> str:
        return self._account

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def canonical_charge(self, terms: ChargeTerms) -> bytes:
        return stripe_format.canonical_charge(terms, return_url=self._return_url)

    async def charge(
        self, psp_key: str, request: bytes, *, reference: str | None = None, timeout_s: float
    ) -> PspAnswer:
        """Create the PaymentIntent, or, with its id, confirm it: only that can charge."""
        bodies = stripe_format.bodies_of(request, psp_key)
        if isinstance(bodies, str):
            return declined(bodies)
        if reference is None:
            answered = await self._post("/v1/payment_intents", psp_key, bodies.create, timeout_s)
            if isinstance(answered, PspAnswer):
                return never_ran(answered)
            return classify_create(psp_key, answered)
        confirm_key = psp_key + stripe_format.CONFIRM_SUFFIX
        path = _intent_path(reference, "/confirm")
        answered = await self._post(path, confirm_key, bodies.confirm, timeout_s)
        if isinstance(answered, PspAnswer):
            return answered
        return classify_confirm(psp_key, reference, answered)

    async def capture(
        self, psp_key: str, reference: str, amount_minor: int, *, timeout_s: float
    ) -> PspAnswer:
        deadline_s = _now_s() + timeout_s
        intent = await self._intent(reference, timeout_s)
        if isinstance(intent, PspAnswer):
            return never_ran(intent) if intent.is_silent else intent
        fields = {
            "amount_to_capture": str(to_stripe(amount_minor, intent.currency.upper())),
            f"metadata[{stripe_format.METADATA_CHANGE}]": psp_key,
        }
        path = _intent_path(reference, "/capture")
        left_s = deadline_s - _now_s()
        answered = await self._post(path, psp_key, stripe_format.form(fields), left_s)
        if isinstance(answered, PspAnswer):
            return answered
        return classify_capture(psp_key, reference, answered)

    async def void(self, psp_key: str, reference: str, *, timeout_s: float) -> PspAnswer:
        path = _intent_path(reference, "/cancel")
        answered = await self._post(path, psp_key, b"", timeout_s)
        if isinstance(answered, PspAnswer):
            return answered
        return classify_void(reference, answered)

    async def refund(
        self, psp_key: str, reference: str, amount_minor: int, *, timeout_s: float
    ) -> PspAnswer:
        deadline_s = _now_s() + timeout_s
        intent = await self._intent(reference, timeout_s)
        if isinstance(intent, PspAnswer):
            return never_ran(intent) if intent.is_silent else intent
        fields = {
            "payment_intent": reference,
            "amount": str(to_stripe(amount_minor, intent.currency.upper())),
            f"metadata[{stripe_format.METADATA_KEY}]": psp_key,
        }
        left_s = deadline_s - _now_s()
        answered = await self._post("/v1/refunds", psp_key, stripe_format.form(fields), left_s)
        if isinstance(answered, PspAnswer):
            return answered
        return classify_refund(psp_key, reference, answered)

    async def query(self, *, psp_key: str, reference: str | None, timeout_s: float) -> PspAnswer:
        """Ask by the PaymentIntent's id; Stripe finds nothing by a key alone."""
        if reference is None:
            return unknown("Stripe can't be asked without the id of the PaymentIntent")
        deadline_s = _now_s() + timeout_s
        intent = await self._intent(reference, timeout_s)
        if isinstance(intent, PspAnswer):
            return of_another_request(intent)
        if intent.metadata.get(stripe_format.METADATA_KEY) == psp_key:
            return of_intent(psp_key, reference, intent)
        if intent.metadata.get(stripe_format.METADATA_CHANGE) == psp_key:
            return of_capture(psp_key, reference, intent)
        return await self._query_refund(psp_key, reference, deadline_s - _now_s())

    async def _query_refund(self, psp_key: str, reference: str, timeout_s: float) -> PspAnswer:
        path = f"/v1/refunds?payment_intent={quote(reference, safe='')}&limit={REFUNDS_MAX}"
        answered = await self._get(path, timeout_s)
        if isinstance(answered, PspAnswer):
            return of_another_request(answered)
        page = decoded(answered.body, RefundList) if answered.status == 200 else None
        if page is None:
            return of_another_request(refused(answered, error_of(answered)))
        for refund in page.data:
            if refund.metadata.get(stripe_format.METADATA_KEY) == psp_key:
                return of_refund(refund, reference)
        return unknown("nothing of this key is known")

    async def cancel(self, *, psp_key: str, reference: str | None, timeout_s: float) -> PspAnswer:
        """Cancel the PaymentIntent. To repeat that changes nothing, so it needs no key.

        It is looked at first: a key of a capture or a refund must not cost the charge itself.
        """
        if reference is None:
            return unknown("Stripe can't cancel without the id of the PaymentIntent")
        deadline_s = _now_s() + timeout_s
        intent = await self._intent(reference, timeout_s)
        if isinstance(intent, PspAnswer):
            return of_another_request(intent)
        standing = of_intent(psp_key, reference, intent)
        if intent.metadata.get(stripe_format.METADATA_KEY) != psp_key or is_over(intent):
            return standing
        path = _intent_path(reference, "/cancel")
        answered = await self._post(path, None, b"", deadline_s - _now_s())
        if isinstance(answered, PspAnswer):
            return of_another_request(answered)
        return of_another_request(classify_cancel(psp_key, reference, answered))

    def settlement_report(self, *, since: datetime) -> AsyncIterator[SettlementLine]:
        return settlement_lines(self._http, name=self._name, since=since)

    async def close(self) -> None:
        await self._http.close()

    async def _intent(self, reference: str, timeout_s: float) -> PaymentIntent | PspAnswer:
        """Read a PaymentIntent; what can't be read proves nothing."""
        answered = await self._get(_intent_path(reference, _EXPAND_CHARGE), timeout_s)
        if isinstance(answered, PspAnswer):
            return answered
        intent = decoded(answered.body, PaymentIntent) if answered.status == 200 else None
        return refused(answered, error_of(answered)) if intent is None else intent

    async def _get(self, path: str, timeout_s: float) -> HttpAnswer | PspAnswer:
        if timeout_s <= 0:
            return not_sent("no time is left")
        return await self._http.request("GET", path, headers={}, body=None, timeout_s=timeout_s)

    async def _post(
        self, path: str, key: str | None, body: bytes, timeout_s: float
    ) -> HttpAnswer | PspAnswer:
        if timeout_s <= 0:
            return not_sent("no time is left")
        headers: Mapping[str, str] = {} if key is None else {"Idempotency-Key": key}
        answered = await self._http.request(
            "POST",
            path,
            headers={**headers, "Content-Type": "application/x-www-form-urlencoded"},
            body=body,
            timeout_s=timeout_s,
        )
        if key is None or isinstance(answered, PspAnswer):
            return answered
        # Stripe reflects the key. Its documents don't promise it for each refusal, so none is no fault.
        if answered.headers.get("Idempotency-Key", key) != key:
            return unknown("the answer is about another key")
        return answered


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _intent_path(reference: str, rest: str) -> str:
    return f"/v1/payment_intents/{quote(reference, safe='')}{rest}"
