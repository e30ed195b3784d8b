"""The simulator's client: an answer that is none to its request never proves that the request did not run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from payments.attempts import ResultClass
from psp.http_simulator import SimulatorPsp

Script = Callable[["Conversation"], Awaitable[None]]


def http(http_status: int, **body: object) -> bytes:
    payload = msgspec.json.encode(body)
    return b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s" % (http_status, len(payload), payload)


def charged(key: str) -> bytes:
    return http(200, object="charge", key=key, status="captured", captured=5, currency="EUR")


REFUSALS = [http(503, code="did_not_run"), http(429, code="rate_limited")]


class Conversation:
    """One connection as the server sees it; ``ran`` is what all connections were told to charge."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ran: list[str]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._ran = ran

    async def heard(self, *, runs: bool = True) -> str:
        """Return the key of the next request, which is carried out, or not."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
        await self._reader.readexactly(int(fields["Content-Length"]))
        if runs:
            self._ran.append(fields["Idempotency-Key"])
        return fields["Idempotency-Key"]

    def say(self, answer: bytes) -> None:
        self._writer.write(answer)


@asynccontextmanager
async def served(script: Script, ran: list[str]) -> AsyncIterator[SimulatorPsp]:
    """A client with one connection to a server that does this at each."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(Conversation(reader, writer, ran))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    psp = SimulatorPsp(name="s", account="a", url=f"http://127.0.0.1:{port}", connections_max=1)
    try:
        yield psp
    finally:
        await psp.close()
        server.close()


async def results(script: Script, *, count: int, pause_s: float) -> list[ResultClass]:
    """What each of some charges was taken for, and that each that was called not sent did not run."""
    ran: list[str] = []
    got = []
    async with served(script, ran) as psp:
        for number in range(count):
            answer = await psp.charge(f"k{number}", b"{}", timeout_s=2.0)
            got.append(answer.result)
            await asyncio.sleep(pause_s)
    assert not [key for key in ran if got[int(key.removeprefix("k"))] is ResultClass.NOT_SENT], (
        "called not sent, and ran"
    )
    return got


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_greeting_is_no_proof(refusal: bytes) -> None:
    """It may come after our request was written, in its answer's place; what it can't know is our key."""

    async def greets(it: Conversation) -> None:
        it.say(refusal)
        while True:
            it.say(charged(await it.heard()))

    got = await results(greets, count=4, pause_s=0.05)
    assert set(got) <= {ResultClass.UNKNOWN, ResultClass.NOT_SENT}


@pytest.mark.parametrize("refusal", [*REFUSALS, http(503, key="k0", code="did_not_run")])
async def test_an_answer_that_came_twice_is_no_proof_for_the_next_request(refusal: bytes) -> None:
    """The copy comes a moment later, when the connection is in use again."""

    async def twice(it: Conversation) -> None:
        await it.heard(runs=False)
        it.say(refusal)
        key = await it.heard()
        it.say(refusal)
        it.say(charged(key))

    got = await results(twice, count=2, pause_s=0)
    is_named = b'"k0"' in refusal
    assert got == [ResultClass.NOT_SENT if is_named else ResultClass.UNKNOWN, ResultClass.UNKNOWN]


@pytest.mark.parametrize("code", [503, 429])
async def test_a_refusal_of_this_request_is_proof(code: int) -> None:
    """It names its key: then another PSP may be asked. One that names another key proves nothing."""

    async def refuses(it: Conversation) -> None:
        for key in ("k0", "another"):
            await it.heard(runs=False)
            it.say(http(code, key=key, code="did_not_run"))

    ran: list[str] = []
    async with served(refuses, ran) as psp:
        got = [(await psp.charge(key, b"{}", timeout_s=2.0)).result for key in ("k0", "k1")]
    assert got == [ResultClass.NOT_SENT, ResultClass.UNKNOWN]


async def test_the_body_of_an_interim_answer_is_no_answer() -> None:
    """It has none (RFC 9110, section 15.2): whatever is in it was said of no request."""
    refusal = http(503, key="k0", code="did_not_run")

    async def hints(it: Conversation) -> None:
        while True:
            key = await it.heard()
            it.say(b"HTTP/1.1 103 x\r\nContent-Length: %d\r\n\r\n%s" % (len(refusal), refusal))
            await asyncio.sleep(0.02)
            it.say(charged(key))

    assert await results(hints, count=1, pause_s=0) == [ResultClass.UNKNOWN]


async def test_the_body_of_an_answer_to_nothing_is_no_answer() -> None:
    """Its head began while the connection was idle, and ends in the next request's time."""
    refusal = http(503, key="k1", code="did_not_run")

    async def strays(it: Conversation) -> None:
        key = await it.heard()
        it.say(charged(key))
        if key == "k0":
            await asyncio.sleep(0.02)
            it.say(b"HTTP/1.1 200 x\r\nContent-Length: %d\r\n\r" % len(refusal))
        key = await it.heard()
        it.say(b"\n" + refusal)
        await asyncio.sleep(0.02)
        it.say(charged(key))

    got = await results(strays, count=2, pause_s=0.1)
    assert got == [ResultClass.APPROVED, ResultClass.APPROVED]
