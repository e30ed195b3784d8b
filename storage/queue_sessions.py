"""redis-py's connections, kept to one session each, and the exchange of commands and replies on them.

redis-py reconnects silently, also with its retries off: ``send_packed_command`` connects whenever the
socket is gone, which any failed read brings about. A connection here refuses to connect again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, TypeAlias

import hiredis
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from storage.queue_settings import QueueAddress, QueueSettings

STORE = "redis"

# Of fewer words, hiredis packs a command sooner than we could.
_WORDS_MANY = 64
# Lengths of nearly all words, payloads included.
_HEADS_KEPT = 1_024

Command: TypeAlias = Sequence[bytes | str | int]
Reply: TypeAlias = Any  # whatever RESP2 holds: int, bytes, None, lists of these, or a ResponseError


class _SingleSession:
    """Mixed into redis-py's connections: connects once, and never behind our back."""

    _reader: asyncio.StreamReader | None
    _writer: asyncio.StreamWriter | None
    _is_spent = False

    @property
    def is_connected(self) -> bool:
        """Whether the session can be written to.

        redis-py asks only whether it ever disconnected by itself. A peer's reset closes the transport of
        a connection on which nobody reads just then, and uvloop answers the next write to it with a
        RuntimeError, which nobody takes for a lost connection. A peer that was killed closes its side
        alone: whatever is written then is lost.
        """
        reader, writer = self._reader, self._writer
        if reader is None or writer is None or reader.at_eof():
            return False
        return not writer.transport.is_closing()

    async def connect_check_health(
        self, check_health: bool = True, retry_socket_connect: bool = True
    ) -> None:
        if self._is_spent:
            raise RedisConnectionError("the session has ended")
        self._is_spent = True
        await super().connect_check_health(  # type: ignore[misc]
            check_health=check_health, retry_socket_connect=retry_socket_connect
        )

    async def disconnect(self, *arguments: Any, **options: Any) -> None:
        """Close the socket also where the session is over: redis-py closes what is connected alone."""
        self.abort()
        await super().disconnect(*arguments, **options)  # type: ignore[misc]

    def abort(self) -> None:
        """Close the socket at once: closing it in order would wait for a frozen server to read."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None


class SingleSessionConnection(_SingleSession, Connection):
    """A plain connection for one session."""


class SingleSessionTlsConnection(_SingleSession, SSLConnection):
    """A TLS connection for one session."""


def new_session(
    settings: QueueSettings, address: QueueAddress
) -> SingleSessionConnection | SingleSessionTlsConnection:
    """Return a connection that is not open yet. Its reads have no timeout: the caller sets one."""
    connection_class = SingleSessionTlsConnection if address.has_tls else SingleSessionConnection
    return connection_class(
        host=address.host,
        port=address.port,
        db=address.database,
        username=address.username,
        password=address.password,
        # Its own read timeout would abort a WAIT that the server still means to answer.
        socket_timeout=None,
        socket_connect_timeout=settings.connect_timeout_s,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        # Replies keep one shape on every server since Redis 7.0.
        protocol=2,
        driver_info=None,
    )


AnySession: TypeAlias = SingleSessionConnection | SingleSessionTlsConnection


async def converse(connection: AnySession, commands: Iterable[Command]) -> list[Reply]:
    """Send commands together and return a reply for each; error replies are values.

    Raises RedisError and OSError: then the session must not be used again.
    """
    commands = tuple(commands)
    # Packed in C: redis-py's asyncio connections look at each of a batch's arguments in Python.
    await connection.send_packed_command(b"".join(map(packed, commands)))
    replies: list[Reply] = []
    for _ in commands:
        try:
            replies.append(await connection.read_response())
        except ResponseError as error:
            replies.append(error)
    return replies


async def ask_once(
    settings: QueueSettings, address: QueueAddress, commands: Iterable[Command]
) -> list[Reply]:
    """Ask one server on a session of its own, within ``settings.probe_timeout_s``.

    Raises RedisError and OSError (a TimeoutError is one).
    """
    connection = new_session(settings, address)
    try:
        async with asyncio.timeout(settings.probe_timeout_s):
            await connection.connect()  # type: ignore[no-untyped-call]
            return await converse(connection, commands)
    finally:
        connection.abort()


def words(fault: BaseException) -> str:
    """Return what happened; a bare TimeoutError says nothing by itself."""
    return str(fault) or type(fault).__name__


def packed(command: Command) -> bytes:
    """Return a command as it is sent (RESP)."""
    asked: tuple[Any, ...] = tuple(command)
    if len(asked) > _WORDS_MANY:
        try:
            return _joined(asked)
        except TypeError:
            # Not of bytes alone: an int has no length, and a str can't be joined to bytes.
            pass
    of_any: bytes = hiredis.pack_command(asked)
    return of_any


class _Heads(dict[int, bytes]):
    """What precedes a word of that length: the end of the line before it, and its length."""

    def __missing__(self, length: int) -> bytes:
        return b"\r\n$%d\r\n" % length


_HEADS = _Heads({length: b"\r\n$%d\r\n" % length for length in range(_HEADS_KEPT)})


def _joined(command: tuple[bytes, ...]) -> bytes:
    """Return what ``hiredis.pack_command`` would, of bytes alone, in less of its time for hundreds of them."""
    heads = map(_HEADS.__getitem__, map(len, command))
    return b"*%d%b\r\n" % (
        len(command),
        b"".join(chain.from_iterable(zip(heads, command, strict=True))),
    )
