"""Which server of a cluster serves a partition, remembered until one of them says otherwise."""

from __future__ import annotations

from collections.abc import Iterable

from storage.queue_discovery import Locate, SlotMap, find_slots
from storage.queue_settings import QueueAddress, QueueSettings


class Topology:
    """The cluster's slots as last heard. Whoever meets a fault calls ``doubt``."""

    def __init__(self, settings: QueueSettings) -> None:
        self._settings = settings
        self._slots: SlotMap | None = None
        self._is_doubted = True
        self._places: dict[int, QueueAddress] = {}

    def doubt(self) -> None:
        """Ask anew before the next use: a server was away, or no longer serves a partition."""
        self._is_doubted = True

    async def places(self, partition_indexes: Iterable[int]) -> dict[QueueAddress, list[int]]:
        """Return the partitions by the server that serves them. Raises StorageUnavailable."""
        slots = await self._current()
        places: dict[QueueAddress, list[int]] = {}
        for index in partition_indexes:
            address = self._places.get(index)
            if address is None:
                address = self._places[index] = slots.primary_of(index)
            places.setdefault(address, []).append(index)
        return places

    async def primaries(self) -> frozenset[QueueAddress]:
        """Return every server that serves something. Raises StorageUnavailable."""
        return (await self._current()).primaries

    async def _current(self) -> SlotMap:
        if self._slots is None or self._is_doubted:
            known = () if self._slots is None else self._slots.primaries
            self._slots = await find_slots(self._settings, known)
            self._is_doubted = False
            self._places.clear()
        return self._slots


def stays_at(address: QueueAddress) -> Locate:
    """Return a way to the one address, for connections that must not follow a partition."""

    async def locate() -> QueueAddress:
        return address

    return locate
