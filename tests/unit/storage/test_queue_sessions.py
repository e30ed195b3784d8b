"""Sessions with the queue's server: each is one connection, and says when it is over."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any

import hiredis
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError

from runtime.faults import StorageUnavailable
from storage.queue_connection import QueueConnection
from storage.queue_sessions import Command, converse, new_session, packed
from storage.queue_settings import QueueAddress, QueueSettings

# SO_LINGER with no time: the kernel ends the connection by a reset.
RESETS = struct.pack("ii", 1, 0)
REPLICATION = b"role:master\r\nmaster_replid:abc\r\n"


class Server:
    """Answers what a queue's connection asks when it begins, and resets its connections when told."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                for _ in range(data.count(b"WAITAOF")):
                    writer.write(b"*1\r\n*0\r\n")
                for _ in range(data.count(b"replication")):
                    writer.write(b"$%d\r\n%b\r\n" % (len(REPLICATION), REPLICATION))
                for _ in range(data.count(b"PING")):
                    writer.write(b"+PONG\r\n")

    async def end(self, *, is_reset: bool = True) -> None:
        """End every connection by a reset, or as a process that is killed does; let the other side hear of it."""
        for writer in self.writers:
            if is_reset:
                ours: socket.socket = writer.get_extra_info("socket")
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
            writer.transport.abort()
        self.writers.clear()
        await asyncio.sleep(0.05)


def settings_of(listening: asyncio.Server) -> tuple[QueueSettings, QueueAddress]:
    port = listening.sockets[0].getsockname()[1]
    settings = QueueSettings(
        url=f"redis://127.0.0.1:{port}",
        replicas_awaited=0,
        replica_count=0,
        stream_length_max=10,
        record_count_max=100,
    )
    address = QueueAddress(
        host="127.0.0.1", port=port, database=0, has_tls=False, username=None, password=None
    )
    return settings, address


LOOPS = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
NewLoop = Callable[[], asyncio.AbstractEventLoop]
ENDS = pytest.mark.parametrize("is_reset", [True, False], ids=["reset", "closed"])


@ENDS
@LOOPS
def test_a_session_that_ended_while_idle_is_over(new_loop: NewLoop, is_reset: bool) -> None:
    """Whoever writes next is told that the connection is lost, by whatever loop, and not of a defect."""

    async def play() -> None:
        server = Server()
        async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
            settings, address = settings_of(listening)
            session = new_session(settings, address)
            await session.connect()  # type: ignore[no-untyped-call]
            assert await converse(session, [("PING",)]) == [b"PONG"]
            await server.end(is_reset=is_reset)
            assert not session.is_connected
            with pytest.raises(RedisConnectionError):
                await converse(session, [("PING",)])
            session.abort()
            await server.end()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(play())


@ENDS
@LOOPS
def test_an_end_between_two_exchanges_costs_neither(new_loop: NewLoop, is_reset: bool) -> None:
    """The lost session is noticed before anything is sent on it, so a new one can carry the exchange."""

    async def play() -> None:
        server = Server()
        async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
            settings, address = settings_of(listening)

            async def locate() -> QueueAddress:
                return address

            queue = QueueConnection(settings, locate)
            async with queue.turn:
                first = await queue.open()
                await server.end(is_reset=is_reset)
                try:
                    assert await queue.exchange([("PING",)]) == [b"PONG"]
                except StorageUnavailable as lost:
                    pytest.fail(f"nothing had been sent, and yet: {lost}")
                assert queue.session is not None
                assert queue.session.generation > first.generation
                queue.drop()
            await server.end()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(play())


words = st.one_of(
    st.binary(max_size=40), st.integers(0, 3_000).map(bytes), st.integers(0), st.text(max_size=5)
)


def by_hiredis(command: Command) -> bytes:
    words: tuple[Any, ...] = tuple(command)
    packed_in_c: bytes = hiredis.pack_command(words)
    return packed_in_c


@given(st.one_of(st.lists(words, min_size=1), st.lists(st.binary(max_size=40), min_size=60)))
def test_commands_are_packed_as_redis_wants_them(command: Command) -> None:
    """Long or short, of bytes alone or not: each word with its length."""
    assert packed(command) == by_hiredis(command)


def test_a_long_word_has_its_length() -> None:
    """Also one that is longer than lengths are kept for, among many."""
    command = (b"XADD", *(bytes(length) for length in range(0, 5_000, 50)))
    assert packed(command) == by_hiredis(command)
