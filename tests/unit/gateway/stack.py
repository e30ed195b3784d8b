"""A whole gateway on fakes, for tests: HTTP in front, the queue and the books in memory behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
from aiohttp import ClientSession, TCPConnector, web

from gateway.app import Dependencies, Gateway
from gateway.health import Check
from gateway.openapi.deployment import narrowed
from gateway.openapi.document import document_of
from gateway.rendering import accepted_view
from gateway.server import GatewayRunner
from gateway.settings import GatewaySettings, PaymentRoute
from payments.checkouts import Checkout
from payments.commands import HOSTED_METHOD, PaymentCommand
from payments.fees import SANDBOX_FEE
from payments.identity import order_uuid
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.partitioning import partition_index
from runtime.clock import SystemClock
from storage.api_keys import RANDOM_BYTES, issue_api_key
from storage.envelope import accepted_at_ms
from storage.lookup_keys import OrderLookup
from storage.queue_messages import message_of
from storage.queue_ports import Message
from storage.read_ports import KeyRole, MerchantRecord, StoredOrder
from tests.fakes.fake_checkouts import FakeCheckouts
from tests.fakes.fake_disputes import FakeDisputes
from tests.fakes.fake_event_feed import FakeEventFeed
from tests.fakes.fake_letter_box import FakeLetterBox
from tests.fakes.fake_psp_references import FakePspReferences
from tests.fakes.fake_queries import FakeDirectory, FakeQueries
from tests.fakes.fake_queue import FakeGatewayQueue
from tests.fakes.fake_queue_server import FakeQueueServer
from tests.fakes.fake_request_log import FakeRequestLog
from tests.fakes.fake_webhooks import FakeWebhookBooks, FakeWebhooks
from tests.openapi.conformity import Conformity

PEPPER = b"p" * 32
FINGERPRINT_KEY = b"f" * 32
PARTITION_COUNT = 16
PAGE_URL = "https://psp.example/pay/ch_one"
PAGE_EXPIRES_AT = "2026-11-01T12:15:00.000Z"
MERCHANT_ID = "mrc_bcdfghjkmnpqrstvbcdf"

ROUTES = (
    PaymentRoute(
        psp="simulator",
        mode=Mode.TEST,
        token_prefixes=("tok_", HOSTED_METHOD),
        minimum_minor={"USD": 50},
    ),
    PaymentRoute(
        psp="stripe",
        mode=Mode.LIVE,
        token_prefixes=("pm_",),
        currencies=frozenset({"USD", "EUR"}),
    ),
)


def settings(**changes: Any) -> GatewaySettings:
    """Return settings with short deadlines, so that tests of them are short."""
    defaults = GatewaySettings(
        name="gateway-0",
        host="127.0.0.1",
        port=0,
        partition_count=PARTITION_COUNT,
        routes=ROUTES,
        fingerprint_key=FINGERPRINT_KEY,
        api_key_pepper=PEPPER,
        request_deadline_s=0.4,
        drain_s=2.0,
    )
    return replace(defaults, **changes)


def checkout(*ids: object, **changes: object) -> dict[str, object]:
    """Return the body of a checkout with an order for each id."""
    orders = [
        {"id": str(each), "amount": 1000 + n, "currency": "USD"} for n, each in enumerate(ids)
    ]
    if "hosted" not in changes:
        changes.setdefault("payment_method", "tok_approve")
    return {"orders": orders, **changes}


def payment(**changes: object) -> dict[str, object]:
    """Return the body of a payment order."""
    return {"amount": 1999, "currency": "USD", "payment_method": "tok_approve", **changes}


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> Any:
        """The code of a problem, checked to be one."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        document = self.json
        assert document["status"] == self.status
        assert document["request_id"] == self.headers["Request-Id"]
        assert document["type"] == f"/docs/problems#{document['code']}"
        return document["code"]


_CONFORMITIES: dict[str, Conformity] = {}


def _conformity(gateway: Gateway, of: GatewaySettings) -> Conformity:
    """The judge of a gateway's answers; one for all that have the same document."""
    providers = repr(of.routes)
    if providers not in _CONFORMITIES:
        document = narrowed(document_of(gateway.documented_routes()), of.routes)
        _CONFORMITIES[providers] = Conformity(json.loads(msgspec.json.encode(document)))
    return _CONFORMITIES[providers]


class GatewayStack:
    """Use it in an ``async with`` block."""

    def __init__(
        self,
        *,
        gateway_settings: GatewaySettings | None = None,
        checks: Mapping[str, Check] | None = None,
        stream_length_max: int = 10_000,
        is_logging: bool = True,
    ) -> None:
        self.settings = gateway_settings or settings()
        self.clock = SystemClock()
        self.queries = FakeQueries()
        self.directory = FakeDirectory()
        self.letters = FakeLetterBox()
        self.checkouts = FakeCheckouts()
        self.disputes = FakeDisputes()
        self.feed = FakeEventFeed()
        self.webhooks = FakeWebhooks(FakeWebhookBooks(self.feed))
        self.references = FakePspReferences()
        self.request_log = FakeRequestLog()
        self.queue = FakeQueueServer(self.clock, stream_length_max=stream_length_max)
        self.merchant: MerchantRecord = self.directory.put_merchant(MERCHANT_ID, fee=SANDBOX_FEE)
        self.key = self.issue_key()
        self.gateway = Gateway(
            Dependencies(
                settings=self.settings,
                clock=self.clock,
                queries=self.queries,
                directory=self.directory,
                letters=self.letters,
                checkouts=self.checkouts,
                disputes=self.disputes,
                feed=self.feed,
                webhooks=self.webhooks,
                references=self.references,
                append_queues=[FakeGatewayQueue(self.queue) for _ in range(2)],
                find_queues=[FakeGatewayQueue(self.queue)],
                reply_to="reply:gateway-0",
                checks=checks or {},
                request_log=self.request_log if is_logging else None,
            )
        )
        self.conformity = _conformity(self.gateway, self.settings)
        self.url = ""
        self._runner = GatewayRunner(
            self.gateway.app,
            door=self.gateway.door,
            settings=self.settings,
            metrics=self.gateway.metrics,
        )
        self._session: ClientSession | None = None

    async def __aenter__(self) -> GatewayStack:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0]
        self.url = f"http://{host}:{port}"
        # The client must not wait for a connection while 100 requests are held on purpose.
        self._session = ClientSession(connector=TCPConnector(limit=0))
        return self

    @asynccontextmanager
    async def client(self, url: str) -> AsyncIterator[None]:
        """Send requests to a gateway that somebody else serves."""
        self.url = url
        async with ClientSession(connector=TCPConnector(limit=0)) as session:
            self._session = session
            yield

    async def __aexit__(self, *_exc: object) -> None:
        assert self._session is not None
        await self._session.close()
        await self._runner.cleanup()

    def issue_key(
        self,
        *,
        role: KeyRole = KeyRole.MERCHANT,
        mode: Mode = Mode.TEST,
        merchant: MerchantRecord | None = None,
        is_revoked: bool = False,
    ) -> str:
        """Store a new API key and return its text."""
        merchant = merchant or self.merchant
        is_merchants = role is KeyRole.MERCHANT
        text, record = issue_api_key(
            PEPPER,
            uuid4().bytes + uuid4().bytes[: RANDOM_BYTES - 16],
            role=role,
            mode=mode,
            merchant_no=merchant.merchant_no if is_merchants else None,
            merchant_id=merchant.merchant_id if is_merchants else None,
        )
        self.directory.put_api_key(replace(record, is_revoked=is_revoked))
        return text

    async def request(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answered:
        """Send one request with the stack's API key or ``key``; with an empty one, without any."""
        assert self._session is not None
        sent = {"Authorization": f"Bearer {self.key if key is None else key}", **(headers or {})}
        if key == "":
            sent = dict(headers or {})
        async with self._session.request(
            method, f"{self.url}{path}", headers=sent, data=body
        ) as response:
            answer = Answered(response.status, dict(response.headers), await response.read())
        # Every answer of every test is held against what the API says of itself.
        complaint = self.conformity.of_answer(
            method, path, answer.status, answer.headers, answer.body
        )
        assert complaint is None, f"{method} {path}: {complaint}"
        return answer

    async def get(self, path: str, **options: Any) -> Answered:
        return await self.request("GET", path, **options)

    async def post(self, path: str, document: object, **options: Any) -> Answered:
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return await self.request("POST", path, body=body, headers=headers, **options)

    async def pay(
        self,
        idempotency_key: object,
        document: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Answered:
        """POST one payment order under the idempotency key."""
        return await self.post(
            "/v1/payments",
            payment() if document is None else document,
            headers={"Idempotency-Key": str(idempotency_key), **(headers or {})},
            key=key,
        )

    async def check_out(
        self,
        idempotency_key: object,
        document: object,
        *,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Answered:
        """POST one checkout under the idempotency key."""
        return await self.post(
            "/v1/checkouts",
            document,
            headers={"Idempotency-Key": str(idempotency_key), **(headers or {})},
            key=key,
        )

    def order_key(self, idempotency_key: UUID, mode: Mode = Mode.TEST) -> OrderLookup:
        """Return where the order of a key is kept."""
        order = order_uuid(MERCHANT_ID, mode, idempotency_key)
        return OrderLookup(partition_index(order, PARTITION_COUNT), order)

    def queued(self) -> list[PaymentCommand]:
        """Return every order's command in the streams."""
        return [message.command for message in self._messages() if message.command is not None]

    def queued_checkouts(self) -> list[Checkout]:
        """Return every checkout in the streams."""
        return [message.checkout for message in self._messages() if message.checkout is not None]

    def _messages(self) -> list[Message]:
        return [
            message_of(raw, partition_index=index, stream_id="0-1", generation=1, read_at_s=0.0)
            for index, stream in self.queue.copy.streams.items()
            for raw in stream.values()
        ]

    def take_in(
        self,
        state: PaymentState = PaymentState.PROCESSING,
        *,
        is_reported: bool = True,
        is_removed: bool = True,
    ) -> list[StoredOrder]:
        """Do an owner's work: move all queued orders to the books, in ``state``, and report it."""
        stored = [self._stored(command, state) for command in self.queued()]
        for order in stored:
            self.queries.put(order)
        checkouts = self.queued_checkouts()
        for checkout in checkouts:
            index = partition_index(checkout.checkout_uuid, PARTITION_COUNT)
            self.checkouts.put(index, checkout._replace(reply_to=""))
        if is_removed:
            for stream in self.queue.copy.streams.values():
                stream.clear()
        if is_reported:
            taken_in = [order.order_uuid for order in stored]
            taken_in += [checkout.checkout_uuid for checkout in checkouts]
            settled = [order.order_uuid for order in stored if order.is_frozen]
            self.gateway.replied(taken_in=taken_in, settled=settled)
        return stored

    def _stored(self, command: PaymentCommand, state: PaymentState) -> StoredOrder:
        index = partition_index(command.order_uuid, PARTITION_COUNT)
        is_failed = state is PaymentState.FAILED
        is_ended = state in (PaymentState.SUCCEEDED, PaymentState.FAILED)
        now = datetime(2026, 11, 1, 12, tzinfo=UTC)
        view = accepted_view(command, MERCHANT_ID, accepted_at_ms(command.accepted_at))._replace(
            status=state.wire,
            psp="simulator",
            psp_reference="ch_one",
            attempt_count=1,
            failure_code="declined" if is_failed else None,
            decline_code="do_not_honor" if is_failed else None,
            effective_at=now if is_ended else None,
            ledger_updated_at=now if is_ended else None,
            next_action={"type": "redirect", "url": PAGE_URL, "expires_at": PAGE_EXPIRES_AT}
            if state is PaymentState.REQUIRES_ACTION
            else None,
        )
        return StoredOrder(
            order_uuid=command.order_uuid,
            partition_index=index,
            order_no=1,
            merchant_no=command.merchant_no,
            mode=command.mode,
            fingerprint=command.fingerprint,
            view=view,
            is_frozen=is_ended,
        )


async def until(condition: Any, timeout_s: float = 2.0) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # the fakes raise no events
            await asyncio.sleep(0.005)
