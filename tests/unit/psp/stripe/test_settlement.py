"""Balance transactions as a settlement report: all of them, oldest first, in bounded memory."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from payments.attempts import PspAnswer
from psp.classification import not_sent
from psp.http_client import HttpAnswer, PspHttp
from psp.port import PspUnavailable, SettlementLine
from psp.stripe import settlement
from psp.stripe.settlement import settlement_lines

START_S = 1_700_000_000


def a_charge(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"ch_{number}",
        "created": START_S,
        "amount": 1_000,
        "amount_captured": 1_000,
        "amount_refunded": 0,
        "captured": True,
        "currency": "usd",
        "status": "succeeded",
        "payment_intent": f"pi_{number}",
        "metadata": {"tally_key": f"key_{number}", "tally_merchant": "m", "tally_order": "odd"},
        **changes,
    }


class Account:
    """Balance transactions behind a ``PspHttp``; it counts what is asked."""

    def __init__(self) -> None:
        self.movements: list[dict[str, Any]] = []
        self.objects: dict[str, Any] = {}
        self.asked: list[str] = []
        self.answer: HttpAnswer | PspAnswer | None = None

    def move(self, at_s: int, source: dict[str, Any], kind: str = "charge", fee: int = 15) -> None:
        """Add a movement; the newest come last."""
        self.movements.append(
            {
                "id": f"txn_{len(self.movements)}",
                "created": START_S + at_s,
                "amount": 1_000,
                "fee": fee,
                "currency": "usd",
                "type": kind,
                "source": source,
            }
        )

    async def request(self, _method: str, path: str, **_told: Any) -> HttpAnswer | PspAnswer:
        self.asked.append(path)
        if self.answer is not None:
            return self.answer
        parts = urlsplit(path)
        if parts.path != "/v1/balance_transactions":
            found = self.objects[parts.path]
            return HttpAnswer(200, json.dumps(found).encode())
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        first, end = int(asked.get("created[gte]", 0)), int(asked.get("created[lt]", 2**40))
        shown = [one for one in reversed(self.movements) if first <= one["created"] < end]
        if (after := asked.get("starting_after")) is not None:
            shown = shown[[one["id"] for one in shown].index(after) + 1 :]
        limit = int(asked["limit"])
        page = {"data": shown[:limit], "has_more": len(shown) > limit}
        return HttpAnswer(200, json.dumps(page).encode())


async def report(account: Account, since_s: int = 0) -> list[SettlementLine]:
    since = datetime.fromtimestamp(START_S + since_s, UTC)
    http = cast(PspHttp, account)
    return [line async for line in settlement_lines(http, name="stripe", since=since)]


async def test_lines_come_oldest_first_through_all_pages() -> None:
    """Also where an hour has more than a page, and where years lie between two charges."""
    account = Account()
    for number in range(250):
        account.move(number, a_charge(number))
    account.move(3 * 365 * 86_400, a_charge(250))
    lines = await report(account)
    assert [line.psp_key for line in lines] == [f"key_{number}" for number in range(251)]
    assert len(account.asked) < 40
    assert await report(account, 3 * 365 * 86_400 + 1) == []


async def test_what_is_too_much_at_once_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by the lines of a window; a second that has more is refused, not cut."""
    monkeypatch.setattr(settlement, "WINDOW_LINES_MAX", 100)
    account = Account()
    for number in range(500):
        account.move(number * 20, a_charge(number))
    assert len(await report(account)) == 500
    for number in range(101):
        account.move(20_000, a_charge(1_000 + number))
    with pytest.raises(PspUnavailable, match="lines a second"):
        await report(account)


async def test_a_charge_that_moved_again_stands_where_it_moved_last() -> None:
    """Once, as it is now, at the time of its refund, with no fee of the refund's."""
    account = Account()
    refunded = a_charge(1, amount_refunded=400)
    account.objects["/v1/charges/ch_1"] = refunded
    account.move(0, refunded)
    account.move(5, a_charge(2))
    refund = {
        "id": "re_1",
        "object": "refund",
        "amount": 400,
        "currency": "usd",
        "status": "succeeded",
        "created": START_S + 9,
        "charge": "ch_1",
    }
    account.move(9, refund, "refund", fee=0)
    account.move(10, {"id": "po_1"}, "payout")
    other, line = await report(account)
    assert (other.psp_key, other.fee_minor) == ("key_2", 15)
    assert (line.psp_key, line.captured_minor, line.refunded_minor) == ("key_1", 1_000, 400)
    assert line.at == datetime.fromtimestamp(START_S + 9, UTC)
    assert (line.reference, line.merchant_id, line.order_key) == ("pi_1", "m", None)


async def test_what_a_partial_capture_left_is_no_refund() -> None:
    """Stripe shows the rest as refunded; money went back only where it moved."""
    account = Account()
    account.move(0, a_charge(1, amount_captured=700, amount_refunded=400))
    moved = {"status": "succeeded", "balance_transaction": "txn", "amount": 100}
    released = {"status": "succeeded", "balance_transaction": None, "amount": 300}
    rest = {"id": "re", "object": "refund", "currency": "usd", "created": START_S}
    account.objects["/v1/refunds"] = {"data": [{**rest, **moved}, {**rest, **released}]}
    (line,) = await report(account)
    assert (line.amount_minor, line.captured_minor, line.refunded_minor) == (1_000, 700, 100)


async def test_names_are_looked_up_where_the_charge_has_none() -> None:
    """A charge without metadata is asked for by its PaymentIntent; one of another system stays foreign."""
    account = Account()
    account.move(0, a_charge(1, metadata={}))
    account.move(1, a_charge(2, metadata={}, payment_intent=None))
    account.objects["/v1/payment_intents/pi_1"] = {
        "id": "pi_1",
        "object": "payment_intent",
        "status": "succeeded",
        "currency": "usd",
        "amount": 1_000,
        "metadata": {"tally_key": "key_1"},
    }
    first, second = await report(account)
    assert (first.psp_key, second.psp_key, second.reference) == ("key_1", "", "ch_2")


async def test_a_fee_in_another_currency_is_no_part_of_the_line() -> None:
    """What Stripe converts is counted in the account's currency, not in the buyer's."""
    account = Account()
    account.move(0, a_charge(1, currency="eur"))
    (line,) = await report(account)
    assert (line.currency, line.fee_minor) == ("EUR", 0)


@pytest.mark.parametrize(
    "answer",
    [
        not_sent("refused"),
        HttpAnswer(401, b'{"error": {"code": "bad_key"}}'),
        HttpAnswer(200, b"[]"),
    ],
)
async def test_a_report_that_can_not_be_read_says_so(answer: HttpAnswer | PspAnswer) -> None:
    """It is never taken for an empty one."""
    account = Account()
    account.answer = answer
    with pytest.raises(PspUnavailable, match="stripe"):
        await report(account)
