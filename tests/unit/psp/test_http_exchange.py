"""The short way of a PSP's call: sent once, read to its end, and its connection used again only where that is safe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp.connector import Connection

from psp.http_exchange import Exchanges

Answers = Callable[[asyncio.StreamWriter, int], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"


class Served:
    """A server that says what a test wants, and what it was asked."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.requests: list[bytes] = []
        self.connections = 0
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                self.requests.append(head + await reader.readexactly(int(length or 0)))
                await self._answers(writer, len(self.requests))
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass
        finally:
            writer.close()
            self.ended.set()


class Way:
    """One exchange after the other with such a server."""

    def __init__(self, exchanges: Exchanges, served: Served) -> None:
        self._exchanges = exchanges
        self.served = served

    async def ask(
        self,
        *,
        method: str = "POST",
        path: str = "/v1/charges",
        headers: dict[str, str] | None = None,
        body: bytes | None = b"{}",
        total_s: float = 5.0,
    ) -> tuple[int, bytes | None]:
        message, received = await self._exchanges.exchange(
            method,
            path,
            headers=headers or {},
            body=body,
            timeout=aiohttp.ClientTimeout(total=total_s, connect=1.0),
            answer_bytes_max=1_000,
        )
        return message.code, received


@asynccontextmanager
async def way(
    answers: Answers,
    *,
    prefix: str = "",
    connector: type[aiohttp.TCPConnector] = aiohttp.TCPConnector,
) -> AsyncIterator[Way]:
    served = Served(answers)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = connector(limit=1)
    try:
        origin = f"http://127.0.0.1:{port}{prefix}"
        yield Way(Exchanges(pool, origin, {"Authorization": "Bearer x"}), served)
    finally:
        await pool.close()
        server.close()


async def echo_number(writer: asyncio.StreamWriter, number: int) -> None:
    writer.write(OK % (1, b"%d" % number))


async def never(_writer: asyncio.StreamWriter, _number: int) -> None:
    await asyncio.sleep(0)


@asynccontextmanager
async def unanswered(it: Way) -> AsyncIterator[None]:
    """While a request waits for its answer; it is given up in the end."""
    asking = asyncio.ensure_future(it.ask())
    while not it.served.requests:
        await asyncio.sleep(0.01)
    yield
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_request_is_as_http_wants_it() -> None:
    """The origin's path, a host, headers of all and of this one, and a length only where there is a body."""
    async with way(echo_number, prefix="/psp/") as it:
        await it.ask(headers={"Idempotency-Key": "k"}, body=b"abc")
        await it.ask(method="GET", path="/v1/charges?key=a%20b", body=None)
        await it.ask(body=b"")
        post, get, empty = it.served.requests
    head, _, body = post.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /psp/v1/charges HTTP/1.1"
    assert lines[-2:] == [b"Idempotency-Key: k", b"Content-Length: 3"]
    assert {b"Authorization: Bearer x", b"Accept: */*"} < set(lines)
    assert sum(line.startswith(b"Host: 127.0.0.1:") for line in lines) == 1
    assert body == b"abc"
    assert get.startswith(b"GET /psp/v1/charges?key=a%20b HTTP/1.1\r\n")
    assert b"Content-Length" not in get
    assert b"Content-Length: 0\r\n" in empty


async def test_a_connection_is_used_again() -> None:
    """One after the other, each with its own answer."""
    async with way(echo_number) as it:
        assert [await it.ask() for _ in range(3)] == [(200, b"1"), (200, b"2"), (200, b"3")]
        assert it.served.connections == 1


async def test_an_answer_to_nothing_is_not_taken_for_the_next_ones() -> None:
    """What a server says beyond its answer, before we ask again, ends the connection."""

    async def twice(writer: asyncio.StreamWriter, number: int) -> None:
        await echo_number(writer, number)
        await asyncio.sleep(0.05)
        writer.write(OK % (5, b"stray"))

    async with way(twice) as it:
        assert await it.ask() == (200, b"1")
        await asyncio.sleep(0.2)
        assert await it.ask() == (200, b"2")
        assert it.served.connections == 2


STRAY_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 43\r\nX: y\r\n\r\n"


@pytest.mark.parametrize("length", [1, 5, 12, 17, 25, 36, 41, 43, len(STRAY_HEAD) - 1])
@pytest.mark.parametrize("pause_s", [0.0, 0.05])
async def test_a_part_of_an_answer_to_nothing_is_not_forgotten(length: int, pause_s: float) -> None:
    """The rest of it comes in the next request's time, and its body looks like an answer."""

    first: list[asyncio.StreamWriter] = []

    async def parts(writer: asyncio.StreamWriter, number: int) -> None:
        if number == 1:
            first.append(writer)
            if pause_s:
                await echo_number(writer, number)
                await asyncio.sleep(pause_s)
                writer.write(STRAY_HEAD[:length])
            else:
                writer.write(OK % (1, b"1") + STRAY_HEAD[:length])
            return
        if writer in first:
            writer.write(STRAY_HEAD[length:] + OK % (5, b"stray"))
            await asyncio.sleep(0.02)
        await echo_number(writer, number)

    async with way(parts) as it:
        assert await it.ask() == (200, b"1")
        await asyncio.sleep(2 * pause_s)
        assert await it.ask() == (200, b"2")
        assert it.served.connections == 2


@pytest.mark.parametrize(
    "greeting", [b"hi", b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"]
)
async def test_a_server_that_speaks_first_is_sent_nothing(greeting: bytes) -> None:
    """One connection shows it, and another would fare no better."""

    class Greeted(aiohttp.TCPConnector):
        """Has heard from the server by the time it tells of a connection, as under uvloop."""

        async def connect(self, *given: Any) -> Connection:
            connection = await super().connect(*given)
            assert connection.protocol is not None
            connection.protocol.data_received(greeting)
            return connection

    async with way(echo_number, connector=Greeted) as it:
        with pytest.raises(aiohttp.ClientConnectorError):
            await it.ask()
        await it.served.ended.wait()
        assert (it.served.connections, it.served.requests) == (1, [])


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 70\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 70\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551614\r\n\r\n",
    ],
)
async def test_an_answer_that_may_go_on_ends_its_connection(answer: bytes) -> None:
    """Else what a server sends later for one request is read as the answer to the next."""

    async def goes_on(writer: asyncio.StreamWriter, number: int) -> None:
        if number > 1:
            await echo_number(writer, number)
            return
        writer.write(answer)
        await asyncio.sleep(0.05)
        writer.write(OK % (5, b"stray"))

    async with way(goes_on) as it:
        try:
            code, received = await it.ask()
        except aiohttp.ClientPayloadError:
            assert answer.startswith(b"HTTP/1.1 10")
        else:
            assert (code, received) in {(204, b""), (200, None)}
        assert await it.ask() == (200, b"2")
        assert it.served.connections == 2


async def test_a_length_of_thousands_of_digits_is_a_length() -> None:
    """Python refuses to read it as a number; the parser takes it for 5."""

    async def long_winded(writer: asyncio.StreamWriter, number: int) -> None:
        zeros = b"0" * (5_000 if number == 1 else 10)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: " + zeros + b"5\r\n\r\nhello")

    async with way(long_winded) as it:
        assert await it.ask() == (200, b"hello")
        assert await it.ask() == (200, b"hello")


async def test_interim_answers_are_passed_over() -> None:
    """Of any number of them none is the answer (RFC 9110, section 15.2)."""

    async def early(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n" * 2)
        await asyncio.sleep(0.02)
        await echo_number(writer, number)

    async with way(early) as it:
        assert await it.ask() == (200, b"1")


async def test_a_body_may_come_in_parts_and_end_with_the_connection() -> None:
    """Without a length it is what comes until then; with chunks, what is in them."""

    async def parts(writer: asyncio.StreamWriter, number: int) -> None:
        chunked = b"Transfer-Encoding: chunked\r\n" if number == 1 else b""
        writer.write(b"HTTP/1.1 200 OK\r\n" + chunked + b"\r\n")
        for part in (b"5\r\nhello\r\n", b"0\r\n\r\n") if number == 1 else (b"by", b"e"):
            await asyncio.sleep(0.02)
            writer.write(part)
        if number == 2:
            writer.close()

    async with way(parts) as it:
        assert await it.ask() == (200, b"hello")
        assert await it.ask() == (200, b"bye")


async def test_a_body_beyond_the_bound_is_not_read() -> None:
    """Whether its length is told or not; its connection is not used again."""

    async def long(writer: asyncio.StreamWriter, number: int) -> None:
        if number == 1:
            writer.write(OK % (1_001, b"y" * 1_001))
        elif number == 2:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"y" * 1_001)
        else:
            writer.write(OK % (1_000, b"y" * 1_000))

    async with way(long) as it:
        assert await it.ask() == (200, None)
        assert await it.ask() == (200, None)
        assert await it.ask() == (200, b"y" * 1_000)
        # The first may have come whole all the same, and its connection be used again.
        assert it.served.connections in (2, 3)


async def test_an_answer_without_a_body_is_one() -> None:
    """204 has none, whatever else it says."""

    async def nothing(writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with way(nothing) as it:
        assert await it.ask() == (204, b"")
        assert await it.ask() == (204, b"")
        assert it.served.connections == 1


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_nothing_is_sent_twice(method: str) -> None:
    """Not even what the standard calls idempotent: who asked knows what a lack of an answer means."""

    async def hang_up(writer: asyncio.StreamWriter, number: int) -> None:
        if number == 1:
            await echo_number(writer, number)
        else:
            writer.close()

    async with way(hang_up) as it:
        await it.ask(method=method)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await it.ask(method=method)
        assert len(it.served.requests) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer(status: int) -> None:
    """Followed, it would be a second charge."""

    async def elsewhere(writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(b"HTTP/1.1 %d Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n" % status)

    async with way(elsewhere) as it:
        assert await it.ask() == (status, b"")
        assert len(it.served.requests) == 1


async def test_what_takes_too_long_ends_with_its_connection() -> None:
    """Its answer, should it come, is nobody's."""

    async def late(writer: asyncio.StreamWriter, number: int) -> None:
        await asyncio.sleep(0.3 if number == 1 else 0.0)
        await echo_number(writer, number)

    async with way(late) as it:
        with pytest.raises(TimeoutError):
            await it.ask(total_s=0.1)
        assert await it.ask() == (200, b"2")
        assert it.served.connections == 2


async def test_who_gives_up_ends_the_connection() -> None:
    """A cancelled call leaves nothing behind that another could take for its own."""

    async with way(never) as it:
        async with unanswered(it):
            pass
        await it.served.ended.wait()


async def test_a_connection_that_is_not_free_in_time_was_not_used() -> None:
    """The one there is may be busy: nothing was sent by whoever waited for it."""

    async with way(never) as it, unanswered(it):
        with pytest.raises(aiohttp.ConnectionTimeoutError):
            await it.ask()
        assert len(it.served.requests) == 1


async def test_nobody_there_is_told_apart() -> None:
    """Before the first byte."""
    async with way(echo_number) as it:
        pass
    connector = aiohttp.TCPConnector(limit=1)
    other = Way(Exchanges(connector, "http://127.0.0.1:1", {}), it.served)
    with pytest.raises(aiohttp.ClientConnectorError):
        await other.ask()
    await connector.close()


@pytest.mark.parametrize("path", ["", "v1", "/a b", "/a\r\nb", "/é", "/\x7f"])
async def test_a_path_that_is_none_is_refused(path: str) -> None:
    """It would end its line, or begin another request."""
    async with way(echo_number) as it:
        with pytest.raises(ValueError, match="is no path"):
            await it.ask(path=path)
        assert it.served.connections == 0


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\0b"])
async def test_a_header_that_would_be_two_is_refused(text: str) -> None:
    """In its name as in its value; the message does not tell the value, which may be a secret."""
    async with way(echo_number) as it:
        for headers in ({"X": text}, {text: "x"}):
            with pytest.raises(ValueError, match="can't be sent"):
                await it.ask(headers=headers)
        assert it.served.connections == 0
