"""Where the queue's primaries are now: asked of the servers themselves, or of those that watch them.

All are asked at the same time and each within a bound, since a frozen server takes a connection and
never answers: the driver's own Sentinel and cluster clients ask one after the other, and try again
by themselves, which is not for them to decide here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from redis.cluster import parse_cluster_slots
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import RedisError, ResponseError

from runtime.faults import StorageUnavailable
from storage.queue_keys import stream_key
from storage.queue_sessions import STORE, Command, Reply, ask_once, words
from storage.queue_settings import QueueAddress, QueueMode, QueueSettings, at

T = TypeVar("T")

Locate: TypeAlias = Callable[[], Awaitable[QueueAddress]]
"""Where the primary is now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotMap:
    """Which server of a cluster serves which hash slots."""

    ranges: tuple[tuple[int, int, QueueAddress], ...]
    """First slot, last slot, primary."""

    @property
    def primaries(self) -> frozenset[QueueAddress]:
        return frozenset(address for _, _, address in self.ranges)

    def primary_of(self, partition_index: int) -> QueueAddress:
        """Return the partition's primary. Raises StorageUnavailable when nobody serves it."""
        slot = key_slot(stream_key(partition_index))
        for first, last, address in self.ranges:
            if first <= slot <= last:
                return address
        raise StorageUnavailable(
            STORE, f"no server of the cluster serves partition {partition_index}"
        )


async def find_primary(settings: QueueSettings) -> QueueAddress:
    """Return where the one primary is. Raises StorageUnavailable when none says that it is one."""
    if settings.mode is QueueMode.SENTINEL:
        return await _known_to_sentinels(settings)
    candidates = settings.addresses()
    if len(candidates) == 1:
        # Whether it is a primary is looked at when a session begins on it.
        return candidates[0]
    return await _primary_among(settings, candidates)


async def find_any(settings: QueueSettings) -> QueueAddress:
    """Return a server to hear replies from: the primary, or any server of a cluster.

    A cluster passes what is published on one of its servers on to all. Raises StorageUnavailable.
    """
    if settings.mode is not QueueMode.CLUSTER:
        return await find_primary(settings)
    return min((await find_slots(settings)).primaries, key=lambda a: (a.host, a.port))


async def find_slots(settings: QueueSettings, known: Iterable[QueueAddress] = ()) -> SlotMap:
    """Return what the first server says that sees its cluster whole.

    ``known`` are asked beside the configured addresses. Raises StorageUnavailable.
    """
    commands = (("CLUSTER", "INFO"), ("CLUSTER", "SLOTS"))
    return await _first(
        settings, dict.fromkeys((*settings.addresses(), *known)), commands, _slot_map
    )


async def _known_to_sentinels(settings: QueueSettings) -> QueueAddress:
    """Ask every Sentinel, and then those servers that any of them named.

    A Sentinel that was cut off may still name the old primary; whoever really is one says so itself.
    """
    own = settings.address()
    command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", settings.sentinel_name)
    named: dict[QueueAddress, None] = {}
    reasons: list[str] = []
    answers: list[list[Reply] | str] = await asyncio.gather(
        *(_ask(settings, sentinel, (command,)) for sentinel in settings.sentinels())
    )
    for answer in answers:
        if isinstance(answer, str):
            reasons.append(answer)
        elif (where := answer[0]) is not None:
            host, port = bytes(where[0]), where[1]
            named[at(own, f"{host.decode()}:{int(port)}")] = None
    if not named:
        raise StorageUnavailable(
            STORE, f"no Sentinel knows {settings.sentinel_name!r}: {'; '.join(reasons)}"
        )
    if len(named) == 1:
        return next(iter(named))
    return await _primary_among(settings, named)


async def _primary_among(
    settings: QueueSettings, candidates: Iterable[QueueAddress]
) -> QueueAddress:
    return await _first(settings, candidates, (("ROLE",),), _if_primary)


def _if_primary(address: QueueAddress, replies: Sequence[Reply]) -> QueueAddress | None:
    (role,) = replies
    return address if role[0] == b"master" else None


def _slot_map(asked: QueueAddress, replies: Sequence[Reply]) -> SlotMap | None:
    info, slots = replies
    if b"cluster_state:ok" not in bytes(info).splitlines():
        # It is cut off from the others, or some of them are away: what it knows may be old.
        return None
    by_range = parse_cluster_slots(slots, current_host=asked.host)
    covered = sum(last - first + 1 for first, last in by_range)
    if covered != REDIS_CLUSTER_HASH_SLOTS:
        return None
    return SlotMap(
        ranges=tuple(
            (first, last, at(asked, "{}:{}".format(*servers["primary"])))
            for (first, last), servers in sorted(by_range.items())
        )
    )


async def _first(
    settings: QueueSettings,
    addresses: Iterable[QueueAddress],
    commands: Iterable[Command],
    judged: Callable[[QueueAddress, Sequence[Reply]], T | None],
) -> T:
    """Ask all at once; return the first judgement that is one. Raises StorageUnavailable."""
    commands = tuple(commands)

    async def ask(address: QueueAddress) -> T | str:
        answer = await _ask(settings, address, commands)
        if isinstance(answer, str):
            return answer
        judgement = judged(address, answer)
        return f"{address.host}:{address.port} is none" if judgement is None else judgement

    return await _first_of([ask(address) for address in addresses])


async def _first_of(asking: Iterable[Coroutine[Any, Any, T | str]]) -> T:
    """Return the first that is no text; texts are reasons. The others are given up."""
    tasks = [asyncio.create_task(one) for one in asking]
    reasons: list[str] = []
    try:
        for ended in asyncio.as_completed(tasks):
            found = await ended
            if not isinstance(found, str):
                return found
            reasons.append(found)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    raise StorageUnavailable(STORE, f"no primary: {'; '.join(reasons)}")


async def _ask(
    settings: QueueSettings, address: QueueAddress, commands: Iterable[Command]
) -> list[Reply] | str:
    """Return the replies, or why there are none."""
    try:
        replies = await ask_once(settings, address, commands)
    except (RedisError, OSError) as fault:
        return f"{address.host}:{address.port} {words(fault)}"
    for reply in replies:
        if isinstance(reply, ResponseError):
            return f"{address.host}:{address.port} {words(reply)}"
    return replies
