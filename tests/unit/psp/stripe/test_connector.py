"""The connector to Stripe on a socket: an answer that was given to another request is not taken for this one's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from payments.attempts import PspAnswer, ResultClass
from psp.port import ChargeTerms
from psp.stripe.connector import StripePsp
from psp.stripe.format import CONFIRM_SUFFIX
from tests.raw_server import saying

KEY, PI = "tly_key", "pi_abc"
ERROR = b'{"error":{"type":"invalid_request_error","code":"rate_limit"}}'


def refusal(reflected: str | None) -> bytes:
    line = "" if reflected is None else f"idempotency-key: {reflected}\r\n"
    head = f"HTTP/1.1 429 x\r\n{line}Content-Length: {len(ERROR)}\r\n\r\n"
    return head.encode() + ERROR


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[StripePsp]:
    """A connector to a server that says this, whatever it is asked, and hangs up."""
    async with saying(answer) as url:
        psp = StripePsp(
            name="stripe",
            account="default",
            secret_key="sk_test_x",
            is_live=False,
            return_url="https://shop.example/back",
            url=url,
        )
        try:
            yield psp
        finally:
            await psp.close()


async def sent(answer: bytes, *, reference: str | None) -> PspAnswer:
    terms = ChargeTerms(
        amount_minor=1_000,
        currency="EUR",
        token="pm_card_visa",
        merchant_id="m",
        order_key=UUID(int=1),
        capture=True,
    )
    async with answering(answer) as psp:
        request = psp.canonical_charge(terms)
        return await psp.charge(KEY, request, reference=reference, timeout_s=5.0)


@pytest.mark.parametrize(
    ("reflected", "result"),
    [
        (KEY + CONFIRM_SUFFIX, ResultClass.NOT_SENT),
        (None, ResultClass.NOT_SENT),
        (KEY, ResultClass.UNKNOWN),
        ("another", ResultClass.UNKNOWN),
    ],
)
async def test_a_refusal_of_another_request_is_no_proof(
    reflected: str | None, result: ResultClass
) -> None:
    """The charge may have run. Where Stripe reflects no key, its word counts as it stands."""
    assert (await sent(refusal(reflected), reference=PI)).result is result


async def test_a_creation_never_ran_whatever_is_said_of_it() -> None:
    """Nobody confirms what it may have made."""
    assert (await sent(refusal("another"), reference=None)).result is ResultClass.NOT_SENT
