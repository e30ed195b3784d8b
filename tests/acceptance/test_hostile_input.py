"""Whatever arrives, at the door or on the stream: it gets its answer, and the others go on."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from payments.identity import order_uuid
from payments.mode import Mode
from payments.partitioning import partition_index
from storage.envelope import encode_command
from storage.queue_keys import stream_key
from tests.poison_messages import genuine as genuine_command
from tests.rig import PARTITION_COUNT, Rig
from tests.servers import SharedServers
from tests.shop import open_shop, successful_charges

BODY = b'{"amount":1999,"currency":"USD","payment_method":"tok_approve"}'


@pytest.fixture(scope="module")
def rig(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Two gateways on one port and a host, for the whole module."""
    with Rig(servers, tmp_path_factory.mktemp("hostile")) as rig:
        rig.start_gateway("gateway-0")
        rig.start_gateway("gateway-1")
        rig.start_host("host-0")
        asyncio.run(rig.until_owned_by("host-0"))
        asyncio.run(rig.until_ready())
        yield rig


# --- at the door -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (b"", BODY.replace(b"1999", b"1e3"), 400),
        (b"", BODY.replace(b"1999", b"1999.0"), 400),
        (b"", BODY.replace(b"1999", b"9" * 5_000), 422),
        (b"", BODY.replace(b"1999", b"-0"), 422),
        (b"", BODY.replace(b"1999", b"NaN"), 400),
        (b"", b"\xef\xbb\xbf" + BODY, 400),
        (b"", BODY.replace(b"approve", b"\xc0\x80"), 400),
        (b"", BODY.replace(b"approve", b"\\u0000"), 422),
        (b"", BODY.replace(b"USD", b"\\ud800"), 400),
        (b"", BODY[:-1] + b',"metadata":' + b"[" * 30_000 + b"]" * 30_000 + b"}", 400),
        (b"", b'{"a":' * 10_000, 400),
        (b"", BODY[:-1] + b',"description":"a\\u0000b"}', 422),
        (b"", BODY[:-1] + b',"metadata":{"\\u0000":"a"}}', 422),
        (b"", BODY[:-1] + b',"seller":"\\u0000"}', 422),
        (b"", BODY[:-1] + b',"description":"\\u0034111111111111111"}', 422),
        (b"X-4111111111111111: a\r\n", BODY, 422),
        (b"Authorization: Bearer sk_test_\xff\r\n", BODY, 401),
        (b"Content-Encoding: gzip\r\n", BODY, 415),
        (b"Transfer-Encoding: gzip\r\n", BODY, 400),
        (b"Tallystick-Version: \xff\r\n", BODY, 400),
        (b"Tallystick-Version: 2026-11-01\r\nTallystick-Version: 1\r\n", BODY, 400),
        (b"Expect: 100-continue\r\nExpect: foo\r\n", BODY, 417),
    ],
)
async def test_a_hostile_request_is_refused(
    rig: Rig, headers: bytes, body: bytes, status: int
) -> None:
    """What can't be an order is answered 4xx, whatever it is made of; none of it is logged as a defect."""
    head = b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers
    for name, value in (
        ("Authorization", f"Bearer {rig.api_key}"),
        ("Idempotency-Key", str(uuid4())),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
    ):
        if name.encode() not in headers:
            head += f"{name}: {value}\r\n".encode()
    answer = await _exchange(rig, head + b"\r\n" + body)
    assert int(answer.split(b" ", 2)[1]) == status, answer[:200]
    assert all('"error"' not in rig.log_of(name) for name in ("gateway-0", "gateway-1"))


async def test_twins_with_two_bodies_make_one_order(rig: Rig) -> None:
    """Of concurrent requests under one key one body wins, through any gateway; the other is told."""
    merchant_id, api_key = await rig.create_merchant("Twins")
    keys = [uuid4() for _ in range(40)]
    async with open_shop(rig.url, api_key) as shop:
        answers = await asyncio.gather(
            *(
                shop.post(key, amount_minor=amount_minor, wait_s=10)
                for key in keys
                for amount_minor in (100, 200, 100, 200)
            )
        )
    assert {answer.status for answer in answers} == {201, 422}
    for key in keys:
        of_key = Counter((answer.status, answer.raw) for answer in answers if answer.key == key)
        settled = [count for (status, _), count in of_key.items() if status == 201]
        assert settled == [2]
    refused = [answer for answer in answers if answer.status == 422]
    assert all(answer.body["code"] == "idempotency_key_reused" for answer in refused)
    assert all(answer.body["details"]["differs"] == ["amount"] for answer in refused)
    charges = await successful_charges(rig.simulator.url, merchant_id)
    assert charges == {str(key): 1 for key in keys}


async def test_the_longest_token_is_answered(rig: Rig) -> None:
    """A token of the greatest length taken is declined like any unknown one, and doesn't wait for ever."""
    async with open_shop(rig.url, rig.api_key) as shop:
        answer = await shop.post(token="tok_" + "x" * 251, wait_s=5)
    assert answer.status == 402, answer.raw
    assert answer.body["decline_code"] == "invalid_token"


# --- on the stream -----------------------------------------------------------------------------------


async def test_poison_on_the_stream_stops_nobody(rig: Rig) -> None:
    """What no order can be made of becomes a dead letter, once each; its neighbours are paid."""
    command = await genuine_command(rig)
    index = partition_index(command.order_uuid, PARTITION_COUNT)
    genuine = list(encode_command(command))
    poison = [
        [b"a", b"b"],
        [b"c", b"payment", b"c", b"payment"],
        _with(genuine, b"p", b"\xff\xff"),
        _with(genuine, b"p", bytes(300_000)),
        _with(genuine, b"v", b"9|0"),
        _with(genuine, b"c", b"no such command"),
        _with(genuine, b"m", b"9999999999|test"),
        _with(genuine, b"k", b"no uuid"),
        _with(genuine, b"t", b"999999999999999"),
        _with(genuine, b"f", b""),
        _with(genuine, b"r", b"\0"),
    ]
    for fields in (*poison, genuine):
        await _append(rig, index, fields)
    async with open_shop(rig.url, rig.api_key) as shop:
        neighbour = _key_in(rig.merchant_id, index)
        assert (await shop.post(neighbour, wait_s=10)).status == 201
        paid = await shop.settled(command.idempotency_key)
        assert paid["status"] == "succeeded"
    rows = await rig.fetch("SELECT partition_index, reason FROM dead_letter")
    assert [row["partition_index"] for row in rows] == [index] * len(poison)
    charges = await successful_charges(rig.simulator.url, rig.merchant_id)
    assert charges[str(neighbour)] == charges[str(command.idempotency_key)] == 1


async def test_a_second_body_on_the_stream_is_kept_and_not_run(rig: Rig) -> None:
    """Of two bodies under one key the first on the stream stands, even when nobody saw the second come."""
    command = await genuine_command(rig)
    index = partition_index(command.order_uuid, PARTITION_COUNT)
    genuine = list(encode_command(command))
    other = _with(genuine, b"f", command.fingerprint[:1] + bytes(len(command.fingerprint) - 1))
    for fields in (genuine, other, genuine, other):
        await _append(rig, index, fields)
    async with open_shop(rig.url, rig.api_key) as shop:
        paid = await shop.settled(command.idempotency_key)
    assert paid["amount"] == command.amount_minor
    async with asyncio.timeout(5):
        while not (kept := await _refused(rig, command.order_uuid)):
            await asyncio.sleep(0.05)
    assert kept == 1
    charges = await successful_charges(rig.simulator.url, rig.merchant_id)
    assert charges[str(command.idempotency_key)] == 1


# --- how ----------------------------------------------------------------------------------------------


def _key_in(merchant_id: str, index: int) -> UUID:
    """A key whose order lies in that partition."""
    while True:
        key = uuid4()
        order = order_uuid(merchant_id, Mode.TEST, key)
        if partition_index(order, PARTITION_COUNT) == index:
            return key


def _with(fields: list[bytes], name: bytes, value: bytes) -> list[bytes]:
    at = fields.index(name) + 1
    return [*fields[:at], value, *fields[at + 1 :]]


async def _append(rig: Rig, index: int, fields: list[bytes]) -> None:
    """Write to a partition's stream as whoever can reach the server might."""
    async with Redis.from_url(rig.servers.valkey_url) as redis:
        await redis.execute_command("XADD", stream_key(index), "*", *fields)  # type: ignore[no-untyped-call]


async def _refused(rig: Rig, order: UUID) -> int:
    rows = await rig.fetch("SELECT count(*) AS n FROM refused_request WHERE order_uuid = $1", order)
    return int(rows[0]["n"])


async def _exchange(rig: Rig, request: bytes) -> bytes:
    """Send bytes on a connection of their own; return what came until it was closed."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", rig.gateway_port, family=socket.AF_INET
    )
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()
