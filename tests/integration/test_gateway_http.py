"""The gateway over HTTP on real stores: accepted, taken in, settled, replayed; and a frozen replica."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiohttp import ClientSession, TCPConnector, web

from gateway.app import Dependencies, Gateway
from gateway.checks import books_check, queue_check
from gateway.server import GatewayRunner
from gateway.settings import GatewaySettings, PaymentRoute
from ops.local.health import ServerRole
from payments.commands import PaymentCommand
from payments.fees import SANDBOX_FEE
from payments.mode import Mode
from payments.partitioning import partition_index
from runtime.clock import SystemClock
from storage.api_keys import RANDOM_BYTES, issue_api_key
from storage.checkouts import PostgresCheckouts
from storage.connections import Connector
from storage.directory import PostgresDirectory
from storage.disputes import PostgresDisputes
from storage.event_feed import FEED_SETTINGS, PostgresEventFeed
from storage.letters import PostgresLetters
from storage.psp_references import PostgresPspReferences
from storage.queries import PostgresQueries
from storage.queue import QueueSettings, RedisGatewayQueue, RedisOwnerQueue, reply_channel
from storage.read_pool import ReadPool
from storage.read_ports import KeyRole, MerchantRecord
from storage.replies import Reply, ReplyListener, encode_reply
from storage.status import StatusQueries
from storage.webhooks import PostgresWebhooks
from tests.contract.books_data import (
    EndSample,
    RoleConnector,
    SampleOrder,
    create_books,
    insert_order,
)
from tests.servers import SharedServers

pytestmark = pytest.mark.integration

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

PEPPER = b"p" * 32
PARTITION_COUNT = 4
MERCHANT_ID = "mrc_bcdfghjkmnpqrstvbcdf"
REPLY_TO = reply_channel("gateway-test")


@dataclass(frozen=True, slots=True)
class Answered:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def _queue_settings(valkey_url: str) -> QueueSettings:
    return QueueSettings(
        url=valkey_url,
        replicas_awaited=1,
        replica_count=1,
        stream_length_max=1_000,
        record_count_max=10_000,
    )


def _feed_pool(dsn: str) -> ReadPool:
    connector = RoleConnector(dsn, "tally_gateway")
    return ReadPool(connector, session_count_max=2, settings=FEED_SETTINGS)


class RealGateway:
    """A gateway on real stores, and a hand-made owner behind them."""

    def __init__(self, dsn: str, valkey_url: str) -> None:
        self._dsn = dsn
        self.queue = _queue_settings(valkey_url)
        self.settings = GatewaySettings(
            name="gateway-test",
            host="127.0.0.1",
            port=0,
            partition_count=PARTITION_COUNT,
            routes=(PaymentRoute(psp="simulator", mode=Mode.TEST, token_prefixes=("tok_",)),),
            fingerprint_key=b"f" * 32,
            api_key_pepper=PEPPER,
            request_deadline_s=2.0,
        )
        self._pool = ReadPool(RoleConnector(dsn, "tally_gateway"), session_count_max=4)
        self._feed_pool = _feed_pool(dsn)
        self._setup_pool = ReadPool(Connector(dsn, application_name="set-up"), session_count_max=1)
        self._queues = [RedisGatewayQueue(self.queue) for _ in range(3)]
        check, self._check_connection = queue_check(self.queue)
        self.gateway = Gateway(
            Dependencies(
                settings=self.settings,
                clock=SystemClock(),
                queries=PostgresQueries(self._pool),
                directory=PostgresDirectory(self._pool),
                letters=PostgresLetters(self._pool),
                checkouts=PostgresCheckouts(self._pool),
                disputes=PostgresDisputes(self._pool),
                feed=PostgresEventFeed(self._feed_pool),
                webhooks=PostgresWebhooks(self._feed_pool),
                references=PostgresPspReferences(self._pool),
                append_queues=self._queues[:2],
                find_queues=self._queues[2:],
                reply_to=REPLY_TO,
                checks={"queue": check, "books": books_check(StatusQueries(self._pool))},
            )
        )
        self._runner = GatewayRunner(
            self.gateway.app,
            door=self.gateway.door,
            settings=self.settings,
            metrics=self.gateway.metrics,
        )
        self._owner = RedisOwnerQueue(self.queue, clock=SystemClock())
        self._owner.own(frozenset(range(PARTITION_COUNT)))
        self._is_listening = asyncio.Event()
        self._listener = asyncio.create_task(
            ReplyListener(
                self.queue,
                REPLY_TO,
                on_reply=self._replied,
                on_listening=self._is_listening.set,
            ).run()
        )
        self._order_no_last = 0
        self._session = ClientSession(connector=TCPConnector(limit=0))
        self._url = ""
        self._key = ""
        self.seller_no = 0

    async def start(self) -> None:
        directory = PostgresDirectory(self._setup_pool)
        merchant = await directory.create_merchant(
            merchant_id=MERCHANT_ID, name="Shoes", fee=SANDBOX_FEE, actor="test"
        )
        self._key = await self._issue_key(directory, merchant)
        own = (merchant.merchant_no, Mode.TEST, MERCHANT_ID)
        self.seller_no = (await directory.sellers_named([own]))[own].seller_no
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0]
        self._url = f"http://{host}:{port}"
        async with asyncio.timeout(5):
            await self._is_listening.wait()

    async def close(self) -> None:
        await self._session.close()
        await self._runner.cleanup()
        self._listener.cancel()
        await asyncio.gather(self._listener, return_exceptions=True)
        for queue in self._queues:
            await queue.close()
        await self._owner.close()
        await self._check_connection.close()
        await self._pool.close()
        await self._feed_pool.close()
        await self._setup_pool.close()

    async def get(self, path: str) -> Answered:
        return await self._request("GET", path, {}, None)

    async def pay(self, key: UUID, *, prefer: str | None = None, **changes: object) -> Answered:
        body = {"amount": 1999, "currency": "USD", "payment_method": "tok_approve", **changes}
        headers = {"Idempotency-Key": str(key), "Content-Type": "application/json"}
        if prefer is not None:
            headers["Prefer"] = prefer
        return await self._request("POST", "/v1/payments", headers, json.dumps(body).encode())

    async def settle_all(self, count: int) -> None:
        """Do an owner's work for that many orders: read, write to the books, remove, report."""
        settled: list[UUID] = []
        connection = await asyncpg.connect(self._dsn)
        try:
            async with asyncio.timeout(10):
                while len(settled) < count:
                    messages = await self._owner.read(count_max=100, wait_ms_max=100)
                    for message in messages:
                        assert message.command is not None
                        await self._settle(connection, message.command)
                        settled.append(message.command.order_uuid)
                    await self._owner.remove(messages)
        finally:
            await connection.close()
        await self._owner.publish(REPLY_TO, encode_reply(taken_in=settled, settled=settled))

    async def _settle(self, connection: Connection, command: PaymentCommand) -> None:
        self._order_no_last += 1
        sample = SampleOrder(
            merchant_no=command.merchant_no,
            seller_no=command.seller_no,
            seller_id=MERCHANT_ID,
            order_no=self._order_no_last,
            partition_index=partition_index(command.order_uuid, PARTITION_COUNT),
            order_uuid=command.order_uuid,
            idempotency_key=command.idempotency_key,
            amount_minor=command.amount_minor,
            state=EndSample(amount_captured_minor=command.amount_minor),
            accepted_at=command.accepted_at,
        )
        async with connection.transaction():
            await insert_order(connection, sample)
            await connection.execute(
                "UPDATE payment_order SET fingerprint = $1 WHERE order_uuid = $2",
                command.fingerprint,
                command.order_uuid,
            )

    async def _issue_key(self, directory: PostgresDirectory, merchant: MerchantRecord) -> str:
        text, record = issue_api_key(
            PEPPER,
            secrets.token_bytes(RANDOM_BYTES),
            role=KeyRole.MERCHANT,
            mode=Mode.TEST,
            merchant_no=merchant.merchant_no,
            merchant_id=merchant.merchant_id,
        )
        await directory.store_api_key(record, actor="test")
        return text

    async def _request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answered:
        sent = {"Authorization": f"Bearer {self._key}", **headers}
        async with self._session.request(
            method, f"{self._url}{path}", headers=sent, data=body
        ) as response:
            return Answered(response.status, dict(response.headers), await response.read())

    def _replied(self, reply: Reply) -> None:
        self.gateway.replied(taken_in=reply.taken_in, settled=reply.settled)


@pytest.fixture
async def real(database_dsn: str, servers: SharedServers) -> AsyncIterator[RealGateway]:
    servers.empty_valkey()
    await create_books(database_dsn)
    connection = await asyncpg.connect(database_dsn)
    await connection.execute(
        "TRUNCATE merchant, payment_order, attempt, open_order, order_outcome, audit"
        " RESTART IDENTITY CASCADE"
    )
    await connection.close()
    opened = RealGateway(database_dsn, servers.valkey_url)
    try:
        await opened.start()
        yield opened
    finally:
        await opened.close()


async def test_an_order_from_its_post_to_its_frozen_answer(real: RealGateway) -> None:
    """On real stores an order is accepted, shown, settled, and then answered the same for ever."""
    key = uuid4()
    first = await real.pay(key)
    assert (first.status, first.json["status"]) == (202, "processing")
    assert "Tallystick-Key-Check" not in first.headers
    shown = await real.get(f"/v1/payments/{key}")
    assert (shown.status, shown.body) == (200, first.body)
    assert (await real.pay(key, amount=2000)).status == 422
    await real.settle_all(1)
    replays = [await real.pay(key) for _ in range(3)]
    assert {answer.status for answer in replays} == {201}
    assert len({answer.body for answer in replays}) == 1
    assert replays[0].headers["Idempotent-Replayed"] == "true"
    reused = await real.pay(key, amount=2000)
    assert reused.json["details"] == {"differs": ["amount"]}
    listed = await real.get("/v1/payments")
    assert [item["id"] for item in listed.json["data"]] == [str(key)]
    assert (await real.get(f"/v1/payments/{uuid4()}")).status == 404


async def test_the_owners_report_wakes_those_who_wait(real: RealGateway) -> None:
    """Requests held by Prefer: wait are answered when the owner's report comes, all at once."""
    keys = [uuid4() for _ in range(50)]
    asked = [asyncio.create_task(real.pay(key, prefer="wait=10")) for key in keys]
    await real.settle_all(50)
    answers = await asyncio.gather(*asked)
    assert {answer.status for answer in answers} == {201}
    assert [answer.json["id"] for answer in answers] == [str(key) for key in keys]


async def test_repeats_at_the_same_time_are_one_order(real: RealGateway) -> None:
    """Concurrent requests under one key make one order, whichever is first."""
    keys = [uuid4() for _ in range(20)]
    answers = await asyncio.gather(*(real.pay(key) for key in keys * 3))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.body for answer in answers}) == 20
    await real.settle_all(20)
    assert len((await real.get("/v1/payments?limit=100")).json["data"]) == 20


async def test_a_frozen_replica_gives_no_2xx(real: RealGateway, servers: SharedServers) -> None:
    """While the replica stands still nothing is acknowledged, duplicates and reads included."""
    key = uuid4()
    assert (await real.get("/readyz")).json["status"] == "ready"
    assert (await real.pay(key)).status == 202
    pid = servers.pid(ServerRole.REDIS_REPLICA)
    os.kill(pid, signal.SIGSTOP)
    try:
        answers = await asyncio.gather(
            real.pay(key), real.pay(uuid4()), real.pay(uuid4(), prefer="wait=5")
        )
        shown = await real.get(f"/v1/payments/{key}")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert {answer.status for answer in answers} == {503}
    assert all(answer.json["details"] == {"may_run": True} for answer in answers)
    assert shown.status == 503
    assert (await real.pay(key)).status == 202
