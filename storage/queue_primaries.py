"""A connection to each of the queue's primaries, for questions beside the way of an order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from runtime.faults import StorageUnavailable
from storage.queue_connection import QueueConnection, primary_replication_id
from storage.queue_sessions import STORE, Command, Reply
from storage.queue_settings import QueueAddress, QueueMode, QueueSettings
from storage.queue_topology import Topology, stays_at

REPLICATION: Command = (b"INFO", b"replication")
"""Its answer is looked at on the way: that of a replica is a fault."""


class QueuePrimaries:
    """The one primary, or every primary of a cluster. Opens what it needs when it is asked."""

    def __init__(self, settings: QueueSettings) -> None:
        self._settings = settings
        self._topology = Topology(settings) if settings.mode is QueueMode.CLUSTER else None
        self._connections: dict[QueueAddress | None, QueueConnection] = {}

    async def ask_each(self, *commands: Command) -> list[list[Reply]]:
        """Return what each of them replies. Raises StorageUnavailable when one does not."""
        addresses: Iterable[QueueAddress | None] = (None,)
        if self._topology is not None:
            addresses = await self._topology.primaries()
            await self._close_unused(addresses)
        return await self._gathered([self._ask(address, commands) for address in addresses])

    async def ask_of(
        self,
        partition_indexes: Sequence[int],
        *commands: Command,
        each: Sequence[Sequence[Command]],
    ) -> list[tuple[Sequence[int], list[Reply]]]:
        """Ask about partitions where they are: ``commands`` once, then ``each[n]`` of the n-th.

        Returns the partitions by primary with its replies. Raises StorageUnavailable.
        """
        of_partition = dict(zip(partition_indexes, each, strict=True))
        places: dict[QueueAddress | None, Sequence[int]] = {None: partition_indexes}
        if self._topology is not None:
            found = await self._topology.places(partition_indexes)
            places = {address: indexes for address, indexes in found.items()}  # noqa: C416
            await self._close_unused(await self._topology.primaries())
        replies = await self._gathered(
            [
                self._ask(
                    address,
                    (*commands, *(one for index in indexes for one in of_partition[index])),
                )
                for address, indexes in places.items()
            ]
        )
        return list(zip(places.values(), replies, strict=True))

    async def histories(self) -> frozenset[bytes]:
        """Return the replication ids under which the primaries write now. Raises StorageUnavailable."""
        replies = await self.ask_each(REPLICATION)
        return frozenset(primary_replication_id(info) for (info,) in replies)

    async def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            await connection.close()

    @staticmethod
    async def _gathered(asking: Iterable[Coroutine[Any, Any, list[Reply]]]) -> list[list[Reply]]:
        answers = await asyncio.gather(*asking, return_exceptions=True)
        replies: list[list[Reply]] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            replies.append(answer)
        return replies

    async def _ask(self, address: QueueAddress | None, commands: Sequence[Command]) -> list[Reply]:
        connection = self._connections.get(address)
        if connection is None:
            locate = None if address is None else stays_at(address)
            connection = self._connections[address] = QueueConnection(self._settings, locate)
        try:
            async with connection.turn:
                replies = await connection.exchange(commands)
                for command, reply in zip(commands, replies, strict=True):
                    if isinstance(reply, ResponseError):
                        raise StorageUnavailable(STORE, str(reply))
                    if command == REPLICATION:
                        _refuse_replica(connection, reply)
        except StorageUnavailable:
            if self._topology is not None:
                self._topology.doubt()
            raise
        return replies

    async def _close_unused(self, primaries: Iterable[QueueAddress]) -> None:
        for address in self._connections.keys() - set(primaries):
            await self._connections.pop(address).close()


def _refuse_replica(connection: QueueConnection, info: bytes) -> None:
    """Raise StorageUnavailable where a replica answered, and find the primary the next time."""
    try:
        primary_replication_id(info)
    except StorageUnavailable:
        connection.drop()
        raise
