"""PSPs' webhooks at the gateway: believed by their signature, and proven on every copy before the 2xx."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from gateway import accepting
from gateway.settings import WebhookSource
from payments.attempts import PspAnswer, ResultClass
from payments.disputes import DisputeState
from payments.identity import psp_key
from payments.partitioning import partition_index
from payments.psp_events import PspEvent, event_uuid
from psp.sandbox_webhooks import read_sandbox_webhook
from psp.simulator.wire import AnswerBody, ChargeStatus, WebhookBody
from psp.webhooks import DisputeNotice, PspNotice, WebhookVerifier, signature_of
from storage.event_envelope import decode_event
from tests.unit.gateway.stack import PARTITION_COUNT, Answered, GatewayStack, settings, until

NEW, OLD = b"n" * 32, b"o" * 32
PATH = "/v1/psp/simulator/webhooks"
AT = b"2026-11-26T00:00:00Z"
ORDER = UUID("00000000-0000-5000-8000-00000000abcd")


def a_body(event_id: str = "evt_abc", *, order: UUID = ORDER, key: str | None = None) -> bytes:
    at = datetime(2026, 11, 26, tzinfo=UTC)
    charge = AnswerBody(
        object="charge",
        key=psp_key(order, 1) if key is None else key,
        reference="ch_abc",
        status=ChargeStatus.CAPTURED,
        amount=1999,
        currency="USD",
        captured=1999,
        at=at,
    )
    return msgspec.json.encode(
        WebhookBody(id=event_id, type="charge.succeeded", created_at=at, data=charge)
    )


def queued(stack: GatewayStack) -> list[tuple[int, PspEvent]]:
    return [
        (index, decode_event(raw))
        for index, stream in stack.queue.copy.streams.items()
        for raw in stream.values()
    ]


@pytest.fixture
async def stack() -> AsyncIterator[GatewayStack]:
    source = WebhookSource(
        verifier=WebhookVerifier([NEW, OLD], tolerance_s=300), read=read_sandbox_webhook
    )
    async with GatewayStack(gateway_settings=settings(webhooks={"simulator": source})) as stack:
        yield stack


async def send(
    stack: GatewayStack,
    body: bytes,
    *,
    secret: bytes = NEW,
    age_s: int = 0,
    path: str = PATH,
    changes: Mapping[str, str] | None = None,
) -> Answered:
    at_s = int(stack.clock.now().timestamp()) - age_s
    headers = {
        "webhook-id": "msg_a",
        "webhook-timestamp": str(at_s),
        "webhook-signature": signature_of(secret, "msg_a", at_s, body),
        **(changes or {}),
    }
    return await stack.post(path, body, key="", headers=headers)


@pytest.mark.parametrize("secret", [NEW, OLD])
async def test_an_event_is_queued_to_its_orders_partition(
    stack: GatewayStack, secret: bytes
) -> None:
    """No API key is needed; what is queued is the event of the very attempt that its key names."""
    answer = await send(stack, a_body(), secret=secret)
    assert (answer.status, answer.json) == (202, {"object": "psp_webhook", "status": "queued"})
    ((index, event),) = queued(stack)
    assert index == partition_index(ORDER, PARTITION_COUNT)
    assert (event.order_uuid, event.attempt_no) == (ORDER, 1)
    assert event.event_uuid == event_uuid("simulator", "evt_abc")
    assert (event.result, event.captured_minor, event.currency) == (
        ResultClass.APPROVED,
        1999,
        "USD",
    )
    assert event.reply_to == "reply:gateway-0"


async def test_a_repetition_is_answered_alike_and_queued_once(stack: GatewayStack) -> None:
    """The PSP may send an event as often as it likes, also with other words."""
    for body in (a_body(), a_body(), a_body().replace(b"1999", b"1998")):
        assert (await send(stack, body)).status == 202
    assert len(queued(stack)) == 1


async def test_nothing_is_acknowledged_before_it_is_on_every_copy(stack: GatewayStack) -> None:
    """While the copies are behind the answer is 503; the same event sent again counts once."""
    stack.queue.is_replica_frozen = True
    answer = await send(stack, a_body())
    assert (answer.status, answer.code) == (503, "store_unavailable")
    assert answer.json["details"] == {"may_run": True}
    stack.queue.is_replica_frozen = False
    assert (await send(stack, a_body())).status == 202
    assert len(queued(stack)) == 1


async def test_an_event_that_its_owner_wrote_is_acknowledged_without_the_copies(
    stack: GatewayStack,
) -> None:
    """The books hold it for good: a replica that lags must not have the PSP send it again and again."""
    stack.queue.is_replica_frozen = True
    sending = asyncio.create_task(send(stack, a_body()))
    await until(lambda: bool(queued(stack)))
    name = event_uuid("simulator", "evt_abc")
    stack.gateway.replied(taken_in=[name], settled=[])
    assert (await sending).status == 202
    assert not stack.gateway.accepting.unreported.holds(name)


async def test_an_event_that_was_taken_in_before_is_acknowledged_without_the_copies(
    stack: GatewayStack,
) -> None:
    """Its first answer was lost, and no report comes of a repetition: that its message was removed tells enough."""
    assert (await send(stack, a_body())).status == 202
    ((index, event),) = queued(stack)
    record = stack.queue.copy.records[index, event.event_uuid]
    record.expires_at_s = stack.clock.monotonic_s() + 900.0
    stack.queue.is_replica_frozen = True
    assert (await send(stack, a_body())).status == 202
    record.expires_at_s = None
    assert (await send(stack, a_body())).status == 503


async def test_events_are_taken_while_the_books_are_away(stack: GatewayStack) -> None:
    """Postgres is not asked: an event waits in the queue as an order does."""
    stack.queries.is_available = False
    assert (await send(stack, a_body())).status == 202


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"secret": b"f" * 32}, "webhook_signature_invalid"),
        ({"changes": {"webhook-signature": ""}}, "webhook_signature_invalid"),
        ({"changes": {"webhook-id": "msg_b"}}, "webhook_signature_invalid"),
        ({"changes": {"webhook-timestamp": "never"}}, "webhook_signature_invalid"),
        ({"age_s": 301}, "webhook_timestamp_invalid"),
        ({"age_s": -302}, "webhook_timestamp_invalid"),
    ],
)
async def test_what_the_psp_did_not_sign_lately_is_refused(
    stack: GatewayStack, changes: dict[str, Any], code: str
) -> None:
    """Forged, changed, or replayed after its time: refused, and nothing is queued."""
    answer = await send(stack, a_body(), **changes)
    assert (answer.status, answer.code) == (403, code)
    assert queued(stack) == []


async def test_one_header_sent_twice_is_none(stack: GatewayStack) -> None:
    """Nobody knows which of two ids was signed."""
    body = a_body()
    at_s = int(stack.clock.now().timestamp())
    assert stack._session is not None
    headers = [
        ("Content-Type", "application/json"),
        ("webhook-id", "msg_a"),
        ("webhook-id", "msg_a"),
        ("webhook-timestamp", str(at_s)),
        ("webhook-signature", signature_of(NEW, "msg_a", at_s, body)),
    ]
    async with stack._session.post(f"{stack.url}{PATH}", data=body, headers=headers) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
async def test_bytes_that_are_no_text_are_no_signature(stack: GatewayStack, name: str) -> None:
    """Anybody may send them: they are refused like any other forgery, and are no failure of ours."""
    body = a_body()
    at_s = int(stack.clock.now().timestamp())
    values = {
        "webhook-id": b"msg_a",
        "webhook-timestamp": b"%d" % at_s,
        "webhook-signature": signature_of(NEW, "msg_a", at_s, body).encode(),
    }
    values[name] += b" v1,\xff"
    headers = {**values, "content-type": b"application/json", "content-length": b"%d" % len(body)}
    head = b"".join(b"%b: %b\r\n" % (name.encode(), value) for name, value in headers.items())
    host, port = stack.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST %b HTTP/1.1\r\nHost: a\r\n%b\r\n%b" % (PATH.encode(), head, body))
    answer = await reader.readuntil(b"\r\n")
    writer.close()
    assert answer.split()[1] == (b"202" if name == "webhook-signature" else b"403")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{}", 400, "webhook_invalid"),
        (b"[" * 30_000, 400, "webhook_invalid"),
        (b"\xff", 400, "webhook_invalid"),
        (a_body("e" * 255).replace(b"USD", b"U\\u0000"), 400, "webhook_invalid"),
        (a_body().replace(b'"captured"', b'"pigeon"', 1), 400, "webhook_invalid"),
        (a_body("4111111111111111"), 422, "pan_not_accepted"),
        (b" " * 70_000, 413, "body_too_large"),
    ],
)
async def test_a_signed_body_that_is_no_event_is_refused(
    stack: GatewayStack, body: bytes, status: int, code: str
) -> None:
    """Bounded, read as JSON of the one shape, without a card number; what it held is not repeated."""
    answer = await send(stack, body)
    assert (answer.status, answer.code) == (status, code)
    assert b"4111111111111111" not in answer.body
    assert b"pigeon" not in answer.body
    assert queued(stack) == []


@pytest.mark.parametrize("at", [b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59.999999-14:00"])
async def test_a_time_beyond_the_calendar_is_left_out(stack: GatewayStack, at: bytes) -> None:
    """The PSP's word counts without it: what it says of the charge must not be lost."""
    body = a_body().replace(b'"at":"' + AT, b'"at":"' + at)
    assert (await send(stack, body)).status == 202
    ((_, event),) = queued(stack)
    assert (event.result, event.effective_at) == (ResultClass.APPROVED, None)


@pytest.mark.parametrize(
    "body", [a_body(key="somebody-elses"), a_body().replace(b"charge.succeeded", b"payout.paid")]
)
async def test_what_concerns_no_order_is_acknowledged_and_dropped(
    stack: GatewayStack, body: bytes
) -> None:
    """A PSP account may serve others than us; its events are taken so that they end, and are counted.

    Each count is there before the first event: an increase is seen only of what was there.
    """
    name = "tallystick_gateway_psp_events_total"
    before = (await stack.get("/metrics")).body.decode()
    for told in ("queued", "ignored", "refused", "unavailable"):
        assert f'{name}{{answer="{told}",psp="simulator"}} 0.0' in before
    answer = await send(stack, body)
    assert (answer.status, answer.json["status"]) == (200, "ignored")
    assert queued(stack) == []
    shown = (await stack.get("/metrics")).body.decode()
    assert f'{name}{{answer="ignored",psp="simulator"}} 1.0' in shown


def a_dispute(_body: bytes) -> PspNotice:
    """What a provider tells that names its own reference and no key of ours."""
    answer = PspAnswer(result=ResultClass.UNKNOWN, reference="pi_abc", currency="USD")
    told = DisputeNotice("dp_abc", DisputeState.OPENED, 700)
    return PspNotice("evt_dispute", None, answer.storable(), told)


async def test_an_event_without_a_key_is_queued_by_its_reference() -> None:
    """The books lead from the provider's name to the order; while they are away it is not taken."""
    source = WebhookSource(verifier=WebhookVerifier([NEW], tolerance_s=300), read=a_dispute)
    async with GatewayStack(gateway_settings=settings(webhooks={"simulator": source})) as stack:
        assert (await send(stack, b"{}")).json["status"] == "ignored"
        stack.references.keys["simulator", "pi_abc"] = psp_key(ORDER, 2)
        stack.references.is_available = False
        answer = await send(stack, b"{}")
        assert (answer.status, answer.code) == (503, "store_unavailable")
        assert answer.json["details"] == {"may_run": False}
        assert queued(stack) == []
        stack.references.is_available = True
        assert (await send(stack, b"{}")).status == 202
        ((index, event),) = queued(stack)
    assert index == partition_index(ORDER, PARTITION_COUNT)
    assert (event.order_uuid, event.attempt_no) == (ORDER, 2)
    assert (event.dispute_id, event.disputed_minor) == ("dp_abc", 700)


@pytest.mark.parametrize("path", ["/v1/psp/stripe/webhooks", "/v1/psp/nobody/webhooks"])
async def test_a_psp_without_a_secret_is_not_found(stack: GatewayStack, path: str) -> None:
    """Nothing is read of what can't be verified."""
    answer = await send(stack, a_body(), path=path)
    assert (answer.status, answer.code) == (404, "psp_not_found")
    assert (await send(stack, a_body(), path=f"{PATH}?a=b")).code == "parameter_unknown"


async def test_an_event_is_kept_until_its_report_and_no_longer(
    stack: GatewayStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be sent again after a promotion; a report that never comes does not fill the memory."""
    monkeypatch.setattr(accepting, "LATE_CHECK_S", 0.02)
    monkeypatch.setattr(accepting, "REPORT_LATE_S", 0.02)
    unreported = stack.gateway.accepting.unreported
    await send(stack, a_body())
    assert len(unreported) == 1
    stack.gateway.replied(taken_in=[event_uuid("simulator", "evt_abc")], settled=[])
    assert len(unreported) == 0
    await send(stack, a_body("evt_other"))
    assert len(unreported) == 1
    monkeypatch.setattr(accepting, "EVENT_KEPT_S", 0.1)
    await until(lambda: len(unreported) == 0)


async def test_a_full_queue_says_so(stack: GatewayStack) -> None:
    """Admission bounds events as it bounds orders."""
    stack.queue.stream_length_max = 1
    assert (await send(stack, a_body("evt_one"))).status == 202
    answer = await send(stack, a_body("evt_two"))
    assert (answer.status, answer.code) == (503, "queue_backpressure")
