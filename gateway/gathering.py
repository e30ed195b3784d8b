"""Single reads of one kind, gathered: one call of the source for all that are asked for meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from runtime.faults import StorageUnavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# A query of so many keys takes a few milliseconds: nobody waits behind a long one.
GATHERED_KEYS_MAX = 500
# While one call waits for its source the next keys gather; more calls at once only make them smaller.
GATHERED_CALLS_MAX = 2


class Gathering(Generic[K, V]):
    """Keys that are asked for one by one, read many at a time.

    ``read`` returns what exists of its keys. StorageUnavailable goes to all who asked in that call. The keys
    that wait are bounded by whoever asks: each request asks for one.
    """

    def __init__(self, read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._read = read
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._is_call_planned = False

    def load(self, key: K) -> asyncio.Future[V | None]:
        """Return the future value, or None when the source has none. Shared by all who ask meanwhile."""
        answer = self._waiting.get(key)
        if answer is None:
            answer = self._waiting[key] = asyncio.get_running_loop().create_future()
            self._plan_call()
        return answer

    def _plan_call(self) -> None:
        if not self._is_call_planned and len(self._calls) < GATHERED_CALLS_MAX:
            # On the next turn of the loop: whoever else asks in this turn comes along.
            self._is_call_planned = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        self._is_call_planned = False
        keys = list(self._waiting)[:GATHERED_KEYS_MAX]
        if not keys:
            return
        asked = {key: self._waiting.pop(key) for key in keys}
        call = asyncio.create_task(self._call(asked))
        self._calls.add(call)
        call.add_done_callback(self._ended)

    async def _call(self, asked: Mapping[K, asyncio.Future[V | None]]) -> None:
        try:
            found = await self._read(list(asked))
        except StorageUnavailable as fault:
            _fail(asked.values(), fault)
            return
        except BaseException as defect:
            # Whoever waits must not wait for ever because of a defect here: they get to see it.
            _fail(asked.values(), RuntimeError(f"the read failed: {type(defect).__name__}"))
            raise
        for key, answer in asked.items():
            if not answer.done():
                answer.set_result(found.get(key))

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if self._waiting:
            self._plan_call()
        if not call.cancelled():
            # A defect surfaces in the loop's exception handler, which logs it.
            call.result()


def _fail(answers: Iterable[asyncio.Future[V]], fault: Exception) -> None:
    for answer in answers:
        if not answer.done():
            answer.set_exception(fault)
