"""The request log at the gateway: merchants find what they asked, and no request waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway import request_log
from payments.fees import SANDBOX_FEE
from payments.identity import parse_request_id
from payments.mode import Mode
from tests.unit.gateway.stack import Answered, GatewayStack, payment

CARD = "4242 4242 4242 4242"


@pytest.fixture
async def stack(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GatewayStack]:
    """A gateway whose log is written only when the test says so."""
    monkeypatch.setattr(request_log, "FLUSH_EVERY_S", 3_600.0)
    async with GatewayStack() as opened:
        yield opened


async def flushed(stack: GatewayStack) -> None:
    assert stack.gateway.request_log is not None
    await stack.gateway.request_log.flush()


async def look(stack: GatewayStack, query: str = "", **options: Any) -> list[dict[str, Any]]:
    answered = await stack.get(f"/v1/requests{query}", **options)
    assert answered.status == 200, answered.body
    found: list[dict[str, Any]] = answered.json["data"]
    return found


def metric(stack: GatewayStack, name: str) -> float:
    text = stack.gateway.metrics.exposition().decode()
    lines = [line for line in text.splitlines() if line.startswith(f"tallystick_gateway_{name}")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def number_of(answered: Answered) -> UUID:
    number = parse_request_id(answered.headers["Request-Id"])
    assert number is not None
    return number


async def test_a_request_is_found_by_its_id_and_by_its_key(stack: GatewayStack) -> None:
    """What was asked, what was answered, how long it took and when: by either name."""
    key = uuid4()
    answered = await stack.pay(key)
    await flushed(stack)
    request_id = answered.headers["Request-Id"]
    (by_id,) = await look(stack, f"?request_id={request_id}")
    (by_key,) = await look(stack, f"?idempotency_key={key}")
    assert by_id == by_key
    assert by_id["id"] == request_id
    assert (by_id["method"], by_id["route"], by_id["status"]) == ("POST", "/v1/payments", 202)
    assert by_id["idempotency_key"] == str(key)
    assert by_id["request"]["amount"] == 1999
    assert by_id["request"]["payment_method"] == "[redacted]"
    assert by_id["answer"]["status"] == "processing"
    assert 0 < by_id["duration_ms"] < 60_000
    assert abs(stack.clock.now().timestamp() - _timestamp(by_id["received_at"])) < 60


def _timestamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.interpreted
async def test_a_request_of_hours_fits_into_its_row(
    stack: GatewayStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that was open all day is noted as long, and costs no other request its row."""
    assert stack.gateway.request_log is not None
    monkeypatch.setattr(stack.gateway.request_log, "began_s", lambda: -86_400.0)
    await stack.pay(uuid4())
    await flushed(stack)
    assert [row.duration_us for row in stack.request_log.rows] == [2**31 - 1]


async def test_a_refusal_is_found_with_its_code(stack: GatewayStack) -> None:
    """Most that is looked for went wrong: the problem's code is told."""
    await stack.pay(uuid4(), payment(amount=1))
    await stack.get("/v1/payments/6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11")
    await flushed(stack)
    shown, refused = await look(stack)
    assert (refused["status"], refused["code"]) == (422, "amount_too_small")
    assert (shown["route"], shown["code"]) == ("/v1/payments/{id}", "payment_not_found")
    assert shown["path"] == {"id": "6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11"}


async def test_a_defect_of_ours_is_found(
    stack: GatewayStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request id of a 500, which its merchant is asked for, leads to the request."""

    async def fail(*_arguments: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(stack.queries, "list_payments", fail)
    answered = await stack.get("/v1/payments?limit=5")
    assert answered.status == 500
    await flushed(stack)
    (found,) = await look(stack, f"?request_id={answered.headers['Request-Id']}")
    assert (found["route"], found["code"]) == ("/v1/payments", "internal_error")
    assert found["query"] == {"limit": "5"}


@pytest.mark.parametrize(
    "place",
    [
        {"description": CARD},
        {"seller": CARD.replace(" ", "")},
        {"amount": 4242424242424242},
        {CARD: 1},
    ],
)
async def test_nothing_of_a_card_number_is_kept(
    stack: GatewayStack, place: dict[str, object]
) -> None:
    """A refused card number leaves no digit in the log, nor in what waits to be written."""
    await stack.pay(uuid4(), {**payment(), **place})
    assert stack.gateway.request_log is not None
    assert "4242" not in repr(stack.gateway.request_log._waiting)
    await flushed(stack)
    (found,) = stack.request_log.rows
    assert found.code == "pan_not_accepted"
    assert b"4242" not in found.bodies


async def test_who_is_no_merchant_is_not_logged(stack: GatewayStack) -> None:
    """Health checks, strangers and looks at the log itself leave no row."""
    await stack.get("/healthz")
    await stack.get("/v1/payments", key="sk_test_nobody")
    await look(stack)
    await flushed(stack)
    assert stack.request_log.rows == []


async def test_nobody_sees_anothers_requests(stack: GatewayStack) -> None:
    """Neither another merchant nor the merchant's own other mode finds a request, by whatever name."""
    key = uuid4()
    answered = await stack.pay(key)
    await flushed(stack)
    other = stack.directory.put_merchant("mrc_other", fee=SANDBOX_FEE)
    for stranger in (stack.issue_key(merchant=other), stack.issue_key(mode=Mode.LIVE)):
        for query in (
            "",
            f"?idempotency_key={key}",
            f"?request_id={answered.headers['Request-Id']}",
        ):
            assert await look(stack, query, key=stranger) == []


async def test_pages_lead_back_and_a_follower_leads_on(stack: GatewayStack) -> None:
    """Newest first and page by page into the past; behind a request, oldest first into the present."""
    ids = [(await stack.pay(uuid4())).headers["Request-Id"] for _ in range(5)]
    await flushed(stack)
    newest = (await stack.get("/v1/requests?limit=2")).json
    assert [each["id"] for each in newest["data"]] == [ids[4], ids[3]]
    assert newest["has_more"]
    older = await look(stack, f"?limit=9&starting_after={ids[3]}")
    assert [each["id"] for each in older] == [ids[2], ids[1], ids[0]]
    later = await look(stack, f"?limit=2&after={ids[1]}")
    assert [each["id"] for each in later] == [ids[2], ids[3]]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("?request_id=req_1", "query:request_id"),
        ("?idempotency_key=cart", "query:idempotency_key"),
        ("?after=req_b&limit=1", "query:after"),
        ("?limit=0", "query:limit"),
        ("?request_id=REQ&after=REQ", "query:after"),
    ],
)
async def test_bad_parameters_are_named(stack: GatewayStack, query: str, param: str) -> None:
    """What is no id, or contradicts itself, is refused by its name."""
    real = (await stack.pay(uuid4())).headers["Request-Id"]
    answered = await stack.get(f"/v1/requests{query.replace('REQ', real)}")
    assert (answered.status, answered.code) == (400, "parameter_invalid")
    assert answered.json["param"] == param


async def test_without_a_store_payments_go_on(stack: GatewayStack) -> None:
    """While the store is away its notes are dropped and counted; then it is written to again."""
    stack.request_log.is_available = False
    assert (await stack.pay(uuid4())).status == 202
    await flushed(stack)
    assert metric(stack, "request_log_dropped_total") == 1
    answered = await stack.get("/v1/requests")
    assert (answered.status, answered.code) == (503, "store_unavailable")
    stack.request_log.is_available = True
    await stack.pay(uuid4())
    await flushed(stack)
    # The failed look is a merchant's request, too, but not one that is noted.
    assert len(stack.request_log.rows) == 1
    assert metric(stack, "request_log_written_total") == 1
    assert metric(stack, "request_log_waiting") == 0


async def test_beyond_the_limit_notes_are_dropped(
    stack: GatewayStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded by count and by bytes, and what there was no room for is counted."""
    monkeypatch.setattr(request_log, "WAITING_COUNT_MAX", 3)
    for _ in range(5):
        await stack.pay(uuid4())
    await flushed(stack)
    assert len(stack.request_log.rows) == 3
    assert metric(stack, "request_log_dropped_total") == 2
    monkeypatch.setattr(request_log, "WAITING_BYTES_MAX", 10)
    await stack.pay(uuid4())
    await flushed(stack)
    assert metric(stack, "request_log_dropped_total") == 3


async def test_a_batch_is_bounded_and_the_turn_asked_for_once(
    stack: GatewayStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many wait, one COPY takes no more than its share; the slot is asked for by the clock."""
    monkeypatch.setattr(request_log, "BATCH_COUNT_MAX", 4)
    for _ in range(9):
        await stack.pay(uuid4())
    await flushed(stack)
    assert stack.request_log.batches == [4, 4, 1]
    settings = stack.settings.request_log
    assert stack.request_log.turns == [(settings.keep_s, settings.bytes_max)]


async def test_no_answer_waits_for_a_slow_log(stack: GatewayStack) -> None:
    """A store that hangs holds up its own batch alone."""
    hanging = asyncio.Event()

    async def hang(*_arguments: object, **_named: object) -> int:
        await hanging.wait()
        return 0

    stack.request_log.turn = hang  # type: ignore[method-assign]
    await stack.pay(uuid4())
    writing = asyncio.create_task(flushed(stack))
    began_s = time.monotonic()
    for _ in range(10):
        assert (await stack.pay(uuid4())).status == 202
    assert time.monotonic() - began_s < 5
    hanging.set()
    await writing


async def test_what_waits_is_written_when_the_gateway_ends() -> None:
    """A gateway that is replaced takes its last half second with it into the log."""
    async with GatewayStack() as stack:
        await stack.pay(uuid4())
    assert len(stack.request_log.rows) == 1


async def test_a_deployment_without_a_log_says_so() -> None:
    """Switched off it costs nothing, and its route tells why it finds nothing."""
    async with GatewayStack(is_logging=False) as stack:
        assert (await stack.pay(uuid4())).status == 202
        answered = await stack.get("/v1/requests")
        assert (answered.status, answered.code) == (404, "not_found")
