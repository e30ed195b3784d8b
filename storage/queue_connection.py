"""One connection to the queue's primary, of which we always know that it is still the same one.

WAIT speaks of the writes of its own connection: on a new one it succeeds at once and proves
nothing. So a connection of the driver's lives here for one session only (``storage.queue_sessions``),
and each session has a generation number.

A connection with an unread reply is never used again: whatever interrupts an exchange, a
cancellation included, ends the session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from redis.exceptions import (
    AskError,
    ClusterDownError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)

from payments.defects import InvariantViolation
from runtime.faults import StorageUnavailable
from storage.queue_discovery import Locate, find_primary
from storage.queue_ports import ConnectionReplaced
from storage.queue_sessions import STORE, AnySession, Command, Reply, converse, new_session, words
from storage.queue_settings import QueueSettings
from storage.redis_script import RedisScript

# What a cluster's server says of keys that live elsewhere now, or that nobody serves.
_ELSEWHERE = (AskError, ClusterDownError, TryAgainError)


class PartitionMoved(StorageUnavailable):
    """A server of a cluster does not serve the partition (any more): ask where it is now."""


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

    def __init__(
        self,
        settings: QueueSettings,
        locate: Locate | None = None,
        *,
        generations: Iterator[int] | None = None,
    ) -> None:
        """``locate`` tells where the primary is, by default as the settings say.

        ``generations`` numbers the sessions: connections whose messages must not be mistaken for each
        other's share one.
        """
        self.turn = asyncio.Lock()
        self._settings = settings
        self._locate = locate
        self._connection: AnySession | None = None
        self._session: Session | None = None
        self._generations = count(1) if generations is None else generations

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
                address = await (
                    find_primary(self._settings) if self._locate is None else self._locate()
                )
                self._connection = new_session(self._settings, address)
                await self._connection.connect()  # type: ignore[no-untyped-call]
                about_waitaof, replication = await self._converse(
                    (("COMMAND", "INFO", "WAITAOF"), ("INFO", "replication"))
                )
        except (RedisError, OSError) as fault:
            self.drop()
            raise StorageUnavailable(STORE, words(fault)) from fault
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
                raise StorageUnavailable(STORE, words(reply))
        try:
            replication_id = primary_replication_id(replication)
        except StorageUnavailable:
            self.drop()
            raise
        return Session(
            generation=next(self._generations),
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
                raise ConnectionReplaced(words(fault)) from fault
            raise StorageUnavailable(STORE, words(fault)) from fault
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
        session, (reply,) = await self.run_scripts(script, [(keys, args)])
        return session, reply

    async def run_scripts(
        self, script: RedisScript, calls: Sequence[tuple[Command, Command]]
    ) -> tuple[Session, list[Reply]]:
        """Run a script once for each ``(keys, args)``, all in one exchange. See ``run_script``.

        Raises PartitionMoved when a cluster's server does not serve some of the keys.
        """
        commands = [
            (b"EVALSHA", script.sha, b"%d" % len(keys), *keys, *args) for keys, args in calls
        ]
        session = await self.open()
        try:
            replies = await self.exchange(commands, generation=session.generation)
            again = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if again:
                # After a promotion or a restart this is certain, so it is no fault.
                load = (b"SCRIPT", b"LOAD", script.source)
                _, *more = await self.exchange(
                    (load, *(commands[n] for n in again)), generation=session.generation
                )
                for n, reply in zip(again, more, strict=True):
                    replies[n] = reply
        except ConnectionReplaced as replaced:
            raise StorageUnavailable(STORE, str(replaced)) from replaced
        for reply in replies:
            refuse_error(reply)
        return session, replies

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
        if self._connection is None:
            raise RedisConnectionError("the session has ended")
        return await converse(self._connection, commands)


def primary_replication_id(info: bytes) -> bytes:
    """Return ``master_replid`` of INFO replication. Raises StorageUnavailable on a replica."""
    facts = dict(line.split(b":", 1) for line in info.splitlines() if b":" in line)
    if facts.get(b"role") != b"master":
        raise StorageUnavailable(STORE, "connected to a replica")
    replication_id = facts.get(b"master_replid")
    if not replication_id:
        raise StorageUnavailable(STORE, "the server does not tell its replication id")
    return replication_id


def refuse_error(reply: Reply) -> None:
    """Raise StorageUnavailable for an error reply, PartitionMoved where it means that."""
    if isinstance(reply, _ELSEWHERE):
        raise PartitionMoved(STORE, words(reply))
    if isinstance(reply, ResponseError):
        raise StorageUnavailable(STORE, words(reply))
