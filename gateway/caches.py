"""A read-through cache that outlives its source for a while: bounded, and asked once at a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

from runtime.clock import Clock
from runtime.faults import StorageUnavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


# While an old value may be served, nobody waits longer for a new one: a server that stands still would
# hold up every request by its time-out. The read goes on, and its answer is kept.
PATIENCE_S = 0.25
# After a failed read the old values are served for so long without asking again.
ASK_AGAIN_S = 1.0

# Keys that don't exist are whatever callers make up; they must not push out those that do.
ABSENT_COUNT_MAX = 1_000


class _Cached(NamedTuple, Generic[V]):
    value: V
    read_at_s: float


class ReadThroughCache(Generic[K, V]):
    """Values by key, read by ``load`` when they are missing or no longer fresh.

    A value stays fresh for ``fresh_s``; a missing one (None) for ``absent_s``. While the source
    raises StorageUnavailable, or keeps silent, a value may be served until it is ``stale_s_max`` old; then
    the fault is the caller's. The least recently used of more than ``count_max`` goes.
    """

    def __init__(
        self,
        load: Callable[[K], Awaitable[V | None]],
        *,
        clock: Clock,
        fresh_s: float,
        stale_s_max: float,
        absent_s: float,
        count_max: int,
    ) -> None:
        self._load = load
        self._clock = clock
        self._fresh_s = fresh_s
        self._stale_s_max = stale_s_max
        self._absent_s = absent_s
        self._count_max = count_max
        self._cached: OrderedDict[K, _Cached[V]] = OrderedDict()
        self._absent_at_s: OrderedDict[K, float] = OrderedDict()
        self._loading: dict[K, asyncio.Future[V | None]] = {}
        self._failed_at_s: float | None = None

    def fresh(self, key: K) -> V | None:
        """Return the value if it is at hand and fresh, else None: the way without a task switch."""
        cached = self._cached.get(key)
        if cached is None or self._clock.monotonic_s() - cached.read_at_s >= self._fresh_s:
            return None
        self._cached.move_to_end(key)
        return cached.value

    async def get(self, key: K) -> V | None:
        """Return the value, or None when the source knows none. Raises StorageUnavailable."""
        value = self.fresh(key)
        if value is not None or self._is_absent(key):
            return value
        cached = self._cached.get(key)
        now_s = self._clock.monotonic_s()
        if cached is None or now_s - cached.read_at_s >= self._stale_s_max:
            return await self._read(key)
        if self._failed_at_s is not None and now_s - self._failed_at_s < ASK_AGAIN_S:
            return cached.value
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._read(key)
        except (StorageUnavailable, TimeoutError):
            return cached.value

    def put(self, key: K, value: V) -> None:
        """Keep a value that was just written to the source."""
        self._absent_at_s.pop(key, None)
        # What a read that is still under way brings is from before.
        self._loading.pop(key, None)
        self._cached[key] = _Cached(value, self._clock.monotonic_s())
        self._cached.move_to_end(key)
        if len(self._cached) > self._count_max:
            self._cached.popitem(last=False)

    def _is_absent(self, key: K) -> bool:
        absent_at_s = self._absent_at_s.get(key)
        return absent_at_s is not None and self._clock.monotonic_s() - absent_at_s < self._absent_s

    async def _read(self, key: K) -> V | None:
        """Ask the source, once for all who ask for this key meanwhile."""
        loading = self._loading.get(key)
        if loading is None:
            loading = asyncio.ensure_future(self._load(key))
            self._loading[key] = loading
            loading.add_done_callback(lambda done: self._loaded(key, done))
        # Shielded: one caller who gives up must not take the answer from the others.
        return await asyncio.shield(loading)

    def _loaded(self, key: K, done: asyncio.Future[V | None]) -> None:
        is_latest = self._loading.get(key) is done
        if is_latest:
            del self._loading[key]
        if done.cancelled():
            return
        if done.exception() is not None:
            self._failed_at_s = self._clock.monotonic_s()
            return
        self._failed_at_s = None
        if not is_latest:
            return
        value = done.result()
        if value is not None:
            self.put(key, value)
            return
        self._cached.pop(key, None)
        self._absent_at_s[key] = self._clock.monotonic_s()
        self._absent_at_s.move_to_end(key)
        if len(self._absent_at_s) > ABSENT_COUNT_MAX:
            self._absent_at_s.popitem(last=False)
