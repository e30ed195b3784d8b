"""One connection to the queue's primary, of which we always know that it is still the same one.

WAIT speaks of the writes of its own connection: on a new one it succeeds at once and proves
nothing. redis-py reconnects silently, also with its retries off: ``send_packed_command`` connects
whenever the socket is gone, which any failed read brings about. So a redis-py connection lives here
for one session only and refuses to connect again, and each session has a generation number.

A connection with an unread reply is never used again: whatever interrupts an exchange, a
cancellation included, ends the session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import hiredis
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from payments.defects import InvariantViolation
from runtime.faults import StorageUnavailable
from storage.queue_ports import ConnectionReplaced
from storage.queue_settings import QueueAddress, QueueSettings
from storage.redis_script import RedisScript

STORE = "redis"

Command: TypeAlias = Sequence[bytes | str | int]
Reply: TypeAlias = Any  # whatever RESP2 holds: int, bytes, None, lists of these, or a ResponseError
Locate: TypeAlias = Callable[[], Awaitable[QueueAddress]]
"""Where the primary is now. The seam for Sentinel, and for addresses that move with a promotion."""


class _SingleSession:
    """Mixed into redis-py's connections: connects once, and never behind our back."""

    _reader: asyncio.StreamReader | None
    _writer: asyncio.StreamWriter | None
    _is_spent = False

    async def connect_check_health(
        self, check_health: bool = True, retry_socket_connect: bool = True
    ) -> None:
        if self._is_spent:
            raise RedisConnectionError("the session has ended")
        self._is_spent = True
        await super().connect_check_health(  # type: ignore[misc]
            check_health=check_health, retry_socket_connect=retry_socket_connect
        )

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What was learnt when a session began."""

    generation: int
    replication_id: bytes
    has_waitaof: bool


class QueueConnection:
    """Runs exchanges with the primary, one at a time, each within one session.

    Callers hold ``turn`` around what belongs together.
    """

    def __init__(self, settings: QueueSettings, locate: Locate | None = None) -> None:
        self.turn = asyncio.Lock()
        self._settings = settings
        self._locate = locate
        self._connection: SingleSessionConnection | SingleSessionTlsConnection | None = None
        self._session: Session | None = None
        self._generation = 0

    @property
    def session(self) -> Session | None:
        """The session that is open as far as we know, or None."""
        return self._session

    async def open(self) -> Session:
        """Return the open session, or begin a new one. Raises StorageUnavailable."""
        if self._session is not None and self._is_open():
            return self._session
        self.drop()
        try:
            async with asyncio.timeout(
                self._settings.connect_timeout_s + self._settings.reply_timeout_s
            ):
                address = self._settings.address() if self._locate is None else await self._locate()
                self._connection = new_session(self._settings, address)
                await self._connection.connect()  # type: ignore[no-untyped-call]
                about_waitaof, replication = await self._converse(
                    (("COMMAND", "INFO", "WAITAOF"), ("INFO", "replication"))
                )
        except (RedisError, OSError) as fault:
            self.drop()
            raise StorageUnavailable(STORE, _words(fault)) from fault
        except BaseException:
            self.drop()
            raise
        self._session = self._greeted(about_waitaof, replication)
        return self._session

    def _greeted(self, about_waitaof: Reply, replication: Reply) -> Session:
        """Return the new session, if the server is a primary that says what it can."""
        for reply in (about_waitaof, replication):
            if isinstance(reply, ResponseError):
                self.drop()
                raise StorageUnavailable(STORE, _words(reply))
        try:
            replication_id = primary_replication_id(replication)
        except StorageUnavailable:
            self.drop()
            raise
        self._generation += 1
        return Session(
            generation=self._generation,
            replication_id=replication_id,
            has_waitaof=bool(about_waitaof) and bool(about_waitaof[0]),
        )

    async def exchange(
        self, commands: Iterable[Command], *, generation: int | None = None, wait_s: float = 0.0
    ) -> list[Reply]:
        """Send the commands together and return a reply for each; error replies are values.

        Opens a session when there is none, unless ``generation`` asks for a particular one: then
        ConnectionReplaced is raised when that one is over, or ends here. ``wait_s`` is how long the
        server itself may wait. Raises StorageUnavailable when the replies did not come: what was
        sent may have been done.
        """
        if not self.turn.locked():
            raise InvariantViolation("an exchange needs its turn on the connection")
        if generation is None:
            await self.open()
        else:
            self.expect(generation)
        try:
            async with asyncio.timeout(wait_s + self._settings.reply_timeout_s):
                replies = await self._converse(commands)
        except (RedisError, OSError) as fault:
            self.drop()
            if generation is not None and not isinstance(fault, TimeoutError):
                raise ConnectionReplaced(_words(fault)) from fault
            raise StorageUnavailable(STORE, _words(fault)) from fault
        except BaseException:
            self.drop()
            raise
        if any(isinstance(reply, ReadOnlyError) for reply in replies):
            self.drop()
            raise StorageUnavailable(STORE, "connected to a replica")
        return replies

    async def run_script(
        self, script: RedisScript, keys: Command, args: Command
    ) -> tuple[Session, Reply]:
        """Run a script by its digest; load it first on a server that does not know it (yet).

        Returns the session it ran in, too. Raises StorageUnavailable also when the script answered
        with an error.
        """
        call = (b"EVALSHA", script.sha, len(keys), *keys, *args)
        session = await self.open()
        try:
            (reply,) = await self.exchange((call,), generation=session.generation)
            if isinstance(reply, NoScriptError):
                # After a promotion or a restart this is certain, so it is no fault.
                load = (b"SCRIPT", b"LOAD", script.source)
                _, reply = await self.exchange((load, call), generation=session.generation)
        except ConnectionReplaced as replaced:
            raise StorageUnavailable(STORE, str(replaced)) from replaced
        if isinstance(reply, ResponseError):
            raise StorageUnavailable(STORE, _words(reply))
        return session, reply

    def expect(self, generation: int) -> Session:
        """Return the session if it is still that one. Raises ConnectionReplaced."""
        session = self._session
        if session is None or session.generation != generation or not self._is_open():
            raise ConnectionReplaced(f"the connection of generation {generation} is gone")
        return session

    def drop(self) -> None:
        """End the session, whatever is still on the wire."""
        connection, self._connection, self._session = self._connection, None, None
        if connection is not None:
            connection.abort()

    async def close(self) -> None:
        """End the session, in its turn."""
        async with self.turn:
            self.drop()

    def _is_open(self) -> bool:
        return self._connection is not None and self._connection.is_connected

    async def _converse(self, commands: Iterable[Command]) -> list[Reply]:
        connection = self._connection
        if connection is None:
            raise RedisConnectionError("the session has ended")
        commands = tuple(commands)
        # Packed in C: redis-py's asyncio connections look at each of a batch's arguments in Python.
        await connection.send_packed_command(b"".join(map(_packed, commands)))
        replies: list[Reply] = []
        for _ in commands:
            try:
                replies.append(await connection.read_response())
            except ResponseError as error:
                replies.append(error)
        return replies


def primary_replication_id(info: bytes) -> bytes:
    """Return ``master_replid`` of INFO replication. Raises StorageUnavailable on a replica."""
    facts = dict(line.split(b":", 1) for line in info.splitlines() if b":" in line)
    if facts.get(b"role") != b"master":
        raise StorageUnavailable(STORE, "connected to a replica")
    replication_id = facts.get(b"master_replid")
    if not replication_id:
        raise StorageUnavailable(STORE, "the server does not tell its replication id")
    return replication_id


def _words(fault: BaseException) -> str:
    """Return what happened; a bare TimeoutError says nothing by itself."""
    return str(fault) or type(fault).__name__


def _packed(command: Command) -> bytes:
    packed: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]  # a wrong stub
    return packed
