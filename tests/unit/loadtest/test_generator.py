"""The load generator: what it sends, how it draws, and when it takes an answer for whole."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import UUID

import msgspec
import pytest

from loadtest.bench.generator.__main__ import generate
from loadtest.bench.generator.connection import is_whole
from loadtest.bench.generator.job import LoadJob, Shape
from loadtest.bench.generator.requests import HELD_S, Requests
from payments.identity import parse_idempotency_key

SELLERS = [f"seller_{number:04}" for number in range(100)]


def job(**changes: object) -> LoadJob:
    base = LoadJob(
        host="127.0.0.1",
        port=1,
        api_key="sk_test",
        sellers=SELLERS,
        seed="7",
        seconds=5.0,
        connection_count=2,
    )
    return msgspec.structs.replace(base, **changes)


def parts(request: bytes) -> tuple[dict[str, str], dict[str, object]]:
    """Headers (lower case) and body of a request; fails where the length is wrong."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/payments HTTP/1.1"
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    assert int(headers["content-length"]) == len(body)
    return headers, msgspec.json.decode(body)


def test_each_request_is_a_new_payment() -> None:
    """No two requests share a key, and each key is one that the API takes."""
    requests = Requests(job())
    keys = {parts(requests.next(is_held=False))[0]["idempotency-key"] for _ in range(500)}
    assert len(keys) == 500
    assert all(isinstance(parse_idempotency_key(key), UUID) for key in keys)


def test_only_held_requests_ask_to_wait() -> None:
    """A request holds exactly when it shall measure the time to settlement."""
    requests = Requests(job())
    assert parts(requests.next(is_held=True))[0]["prefer"] == f"wait={HELD_S}"
    assert "prefer" not in parts(requests.next(is_held=False))[0]


def test_the_same_seed_sends_the_same_payments() -> None:
    """A run can be repeated byte by byte; another seed gives other keys."""

    def sent(seed: str) -> list[bytes]:
        requests = Requests(job(seed=seed))
        return [requests.next(is_held=False) for _ in range(50)]

    assert sent("1") == sent("1")
    assert set(sent("1")).isdisjoint(sent("2"))


def drawn(**changes: object) -> Counter[object]:
    requests = Requests(job(**changes))
    return Counter(parts(requests.next(is_held=False))[1]["seller"] for _ in range(5_000))


def test_shapes_draw_sellers_as_they_say() -> None:
    """One takes all; uniform favours nobody; zipf's first is drawn by its share of all weights."""
    assert drawn(shape=Shape.ONE) == {SELLERS[0]: 5_000}
    uniform = drawn(shape=Shape.UNIFORM)
    assert len(uniform) == len(SELLERS)
    assert max(uniform.values()) < 5_000 / 100 * 2
    share = 1 / sum(rank**-2.0 for rank in range(1, 101))
    steep = drawn(shape=Shape.ZIPF, zipf_exponent=2.0)
    assert steep[SELLERS[0]] == pytest.approx(5_000 * share, rel=0.1)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}", True),
        (b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\nX: y\r\n\r\n{}", True),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{", False),
        (b"HTTP/1.1 202 Accepted\r\nContent-Len", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    ],
)
def test_an_answer_is_whole_with_its_last_byte(answer: bytes, expected: bool) -> None:
    """The next request is sent when the answer has come, not when it begins to."""
    assert is_whole(answer) is expected


async def test_every_request_is_answered_for() -> None:
    """Answers are counted by status, each once, also those that came in two pieces or never."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        while count < 30:
            await reader.readuntil(b"}")
            count += 1
            if count == 30:
                break  # without an answer
            writer.write(b"HTTP/1.1 %d X\r\nContent-Le" % (503 if count == 7 else 202))
            await writer.drain()
            await asyncio.sleep(0.001)
            writer.write(b"ngth: 2\r\n\r\n{}")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        result = await generate(job(port=port, connection_count=1, held_every=3))
    assert result.answers == {"202": 28, "503": 1, "0": 1}
    assert result.accepted_count == 28
    assert result.refused == {"503": 1, "0": 1}
    assert (result.held.count, result.at_once.count) == (9, 20)


async def test_a_wanted_number_of_orders_is_not_exceeded() -> None:
    """A backlog of so many orders is exactly that, however many connections send it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"}"):
                writer.write(b"HTTP/1.1 202 X\r\nContent-Length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        result = await generate(job(port=port, connection_count=7, requests_max=40))
        await asyncio.sleep(0.05)  # until the server has seen the connections' ends
    assert result.answers == {"202": 40}
