"""What the simulator tells by webhook: each change once, signed; wrongly only where it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from payments.attempts import ResultClass
from psp.sandbox_webhooks import read_sandbox_webhook
from psp.simulator import webhook_sending
from psp.simulator.records import BurnRecord, ChangeRecord, ChargeRecord, Record
from psp.simulator.state import SandboxState
from psp.simulator.webhook_sending import WebhookSender, WebhookTarget
from psp.simulator.webhooks import sendings_of, told_by
from psp.simulator.wire import ChangeKind, ChargeStatus, WebhookBody, WebhookFaults
from psp.webhooks import WebhookVerifier
from runtime.clock import SystemClock

SEED = 7
SECRET = b"s" * 32
AT_MS = 1_800_000_000_000


def a_charge(key: str = "tly_a", status: ChargeStatus = ChargeStatus.CAPTURED) -> ChargeRecord:
    return ChargeRecord(
        key=key,
        merchant="m",
        order_key=UUID(int=1),
        amount=500,
        currency="EUR",
        capture=True,
        status=status,
        decline_code="do_not_honor" if status is ChargeStatus.DECLINED else None,
        fingerprint=1,
        refuses_until_ms=0,
        at_ms=AT_MS,
    )


def a_change(kind: ChangeKind, *, refusal: str | None = None) -> ChangeRecord:
    return ChangeRecord(
        charge_key="tly_a",
        kind=kind,
        key=None,
        amount=500,
        fingerprint=2,
        refusal=refusal,
        at_ms=AT_MS + 1,
    )


def told(*records: Record) -> list[WebhookBody | None]:
    state = SandboxState(seed=SEED)
    bodies = []
    for record in records:
        state.apply(record)
        bodies.append(told_by(state, record))
    return bodies


@pytest.mark.parametrize(
    ("records", "result"),
    [
        ([a_charge()], ResultClass.APPROVED),
        ([a_charge(status=ChargeStatus.DECLINED)], ResultClass.DECLINED_FINAL),
        ([a_charge(status=ChargeStatus.REQUIRES_ACTION)], ResultClass.REQUIRES_ACTION),
        (
            [a_charge(status=ChargeStatus.REQUIRES_ACTION), a_change(ChangeKind.COMPLETE)],
            ResultClass.APPROVED,
        ),
        (
            [a_charge(status=ChargeStatus.REQUIRES_ACTION), a_change(ChangeKind.FAIL)],
            ResultClass.DECLINED_FINAL,
        ),
        ([BurnRecord(key="tly_a", at_ms=AT_MS)], ResultClass.CANCELED),
    ],
)
def test_each_change_is_told_as_it_stands(records: list[Record], result: ResultClass) -> None:
    """What the connector reads of the body is what became of the key."""
    body = told(*records)[-1]
    assert body is not None
    notice = read_sandbox_webhook(msgspec.json.encode(body))
    assert notice is not None
    assert (notice.psp_key, notice.answer.result) == ("tly_a", result)
    assert notice.answer.captured_minor == (500 if result is ResultClass.APPROVED else 0)
    assert not any(character.isdigit() for character in notice.event_id)


def test_what_is_nobodys_news_is_not_told() -> None:
    """Refunds of a part, and changes that were refused, have no event."""
    bodies = told(a_charge(), a_change(ChangeKind.REFUND), a_change(ChangeKind.VOID, refusal="no"))
    assert bodies[0] is not None
    assert bodies[1:] == [None, None]


def test_a_change_has_one_name() -> None:
    """The same record gives the same event, another one another."""
    first, again, other = told(a_charge()), told(a_charge()), told(a_charge("tly_b"))
    assert first == again
    assert first[0] is not None
    assert other[0] is not None
    assert first[0].id != other[0].id


def kinds(**wrong: float) -> list[str]:
    (body,) = told(a_charge())
    assert body is not None
    return [each.kind for each in sendings_of(body, WebhookFaults(**wrong), SEED)]  # type: ignore[arg-type]


def test_webhooks_go_wrong_as_they_are_told_to() -> None:
    """Nothing is wrong unless switched on; each fault adds, or takes away, what it says."""
    assert kinds() == ["true"]
    assert kinds(duplicate=1) == ["true", "duplicate"]
    assert kinds(reorder=1) == ["true", "reordered"]
    assert kinds(forge=1) == ["forged", "true"]
    assert kinds(replay=1) == ["replayed", "true"]
    assert kinds(drop=1) == []


def test_what_is_wrong_is_wrong_in_its_own_way() -> None:
    """A forgery claims the opposite under the same id; what is reordered comes late and tells no end."""
    (body,) = told(a_charge())
    assert body is not None
    forged, true, late = sendings_of(body, WebhookFaults(forge=1, reorder=1), SEED)
    assert (forged.body.id, forged.body.data.status) == (true.body.id, ChargeStatus.DECLINED)
    assert late.delay_ms > true.delay_ms
    notice = read_sandbox_webhook(msgspec.json.encode(late.body))
    assert notice is not None
    assert notice.answer.result is ResultClass.UNKNOWN
    assert not forged.is_wanted
    assert true.is_wanted


class Receiver:
    """Takes webhooks, verified as ours are, and says what it is told to say."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        """What it answers next; then 202."""
        self.taken: list[WebhookBody] = []
        self.refused = 0
        self._verifier = WebhookVerifier([SECRET], tolerance_s=300)

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        now_s = datetime.now(UTC).timestamp()
        headers = [request.headers[name] for name in names]
        if self._verifier.refusal(headers[0], headers[1], headers[2], body, now_s=now_s):
            self.refused += 1
            return web.Response(status=403)
        if self.statuses:
            return web.Response(status=self.statuses.pop(0))
        self.taken.append(msgspec.json.decode(body, type=WebhookBody))
        return web.Response(status=202)


@asynccontextmanager
async def sending(
    receiver: Receiver, faults: WebhookFaults | None
) -> AsyncIterator[tuple[SandboxState, WebhookSender]]:
    application = web.Application()
    application.router.add_post("/hooks", receiver.receive)
    async with TestServer(application) as server:
        target = WebhookTarget(url=str(server.make_url("/hooks")), secret=SECRET)
        state = SandboxState(seed=SEED)
        sender = WebhookSender(target, state, lambda: faults, SystemClock())
        running = asyncio.create_task(sender.run())
        yield state, sender
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(receiver: Receiver, taken: int, refused: int = 0) -> None:
    async with asyncio.timeout(5):
        while len(receiver.taken) < taken or receiver.refused < refused:
            await asyncio.sleep(0.01)


def tell(state: SandboxState, sender: WebhookSender, record: Record) -> None:
    state.apply(record)
    sender.changed(record)


async def test_an_event_is_sent_until_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that refuses is asked again, signed anew; one that has taken it is left alone."""
    monkeypatch.setattr(webhook_sending, "RETRY_S_MAX", 0.01)
    receiver = Receiver()
    receiver.statuses = [503, 500]
    async with sending(receiver, WebhookFaults()) as (state, sender):
        tell(state, sender, a_charge())
        await until(receiver, 1)
        await asyncio.sleep(0.05)
        assert dict(sender.answers) == {"true 503": 1, "true 500": 1, "true 202": 1}
    assert len(receiver.taken) == 1


async def test_an_event_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tries are bounded."""
    monkeypatch.setattr(webhook_sending, "RETRY_S_MAX", 0.0)
    monkeypatch.setattr(webhook_sending, "TRIES_MAX", 3)
    receiver = Receiver()
    receiver.statuses = [503] * 9
    async with sending(receiver, WebhookFaults()) as (state, sender):
        tell(state, sender, a_charge())
        async with asyncio.timeout(5):
            while sender.answers["true 503"] < 3:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert sender.answers["true 503"] == 3


async def test_forged_and_replayed_ones_are_refused_and_not_repeated() -> None:
    """A receiver that verifies takes the true one alone, twice where it is duplicated."""
    receiver = Receiver()
    faults = WebhookFaults(forge=1, replay=1, duplicate=1)
    async with sending(receiver, faults) as (state, sender):
        tell(state, sender, a_charge())
        await until(receiver, 2, refused=2)
    assert {body.data.status for body in receiver.taken} == {ChargeStatus.CAPTURED}
    assert sender.answers["forged 403"] == sender.answers["replayed 403"] == 1


async def test_nothing_is_sent_while_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Off, a change costs nothing; a full line drops and counts, and waits for nobody."""
    receiver = Receiver()
    async with sending(receiver, None) as (state, sender):
        tell(state, sender, a_charge())
        await asyncio.sleep(0.05)
        assert not sender.answers
    monkeypatch.setattr(webhook_sending, "WAITING_MAX", 0)
    async with sending(receiver, WebhookFaults()) as (state, sender):
        tell(state, sender, a_charge())
        assert sender.answers["dropped"] == 1
    assert receiver.taken == []
