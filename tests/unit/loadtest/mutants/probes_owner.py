"""One question to owners and PSP connectors for each of their mutants."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from payments.attempts import Attempt, PspAnswer, ResultClass
from payments.identity import psp_key
from psp.http_client import HttpAnswer, PspHttp
from psp.http_simulator import SimulatorPsp
from storage.ports import Flush
from tests.fakes.fake_host import World
from tests.scenario import START
from tests.unit.loadtest.mutants.probes_books import lane_of_a_worker

_ORDER = uuid4()


def _inherited() -> Attempt:
    return Attempt.inherited(
        attempt_no=1,
        psp="psp",
        psp_account="main",
        psp_key=psp_key(_ORDER, 1),
        request=b"{}",
        epoch=1,
        created_at=START,
    )


def _own() -> Attempt:
    return Attempt(
        attempt_no=1,
        psp="psp",
        psp_account="main",
        psp_key=psp_key(_ORDER, 1),
        request=b"{}",
        epoch=1,
        created_at=START,
        is_tainted=False,
    )


def known_orders_not_asked() -> object:
    """How many messages are left of an order that comes again when its key record is gone."""

    async def ask() -> object:
        world = World()
        key = uuid4()
        async with world.running(world.host()):
            order = await world.post(key=key)
            await world.until(lambda: world.status_of(order) is not None)
            await world.until(lambda: not any(world.server.copy.streams.values()))
            world.server.copy.records.clear()
            await world.post(key=key)
            await asyncio.sleep(0.6)
            return sum(map(len, world.server.copy.streams.values()))

    return asyncio.run(ask())


def inherited_counts_as_clean() -> object:
    """Whether an inherited attempt is clean under the next epoch."""
    return _inherited().is_clean_for(2)


def unknown_does_not_taint() -> object:
    """Whether an attempt is clean after silence, after a refusal, and after an approval."""
    results = (ResultClass.UNKNOWN, ResultClass.NOT_SENT, ResultClass.APPROVED)
    return [_own().after_try(result).is_clean_for(1) for result in results]


def key_of_the_owner() -> object:
    """Whether an attempt keeps its key when it is inherited."""
    return _inherited().psp_key == psp_key(_ORDER, 1)


class _CountingLane:
    """Counts the dead letters that it is to write."""

    letter_count = 0

    async def append(self, flush: Flush) -> None:
        self.letter_count += len(flush.dead_letters)


def poison_dropped() -> object:
    """How many dead letters reach the ledger of a flush that has one."""
    lane = _CountingLane()
    letter: Any = object()
    asyncio.run(lane_of_a_worker(lane).append(Flush(dead_letters=[letter])))
    return lane.letter_count


class _Silent:
    """Requests that time out."""

    async def exchange(self, _method: str, _path: str, **_more: Any) -> Any:
        raise TimeoutError


def _simulator() -> SimulatorPsp:
    return SimulatorPsp(name="psp", account="main", url="http://127.0.0.1:1")


def _http(psp: SimulatorPsp) -> PspHttp:
    http: PspHttp = vars(psp)["_http"]
    return http


def unknown_is_declined() -> object:
    """What a time-out of a charge counts as."""
    psp = _simulator()
    vars(_http(psp))["_open"] = lambda: (None, _Silent())
    return asyncio.run(psp.charge(psp_key(_ORDER, 1), b"{}", timeout_s=1.0)).result.name


def not_found_is_proof() -> object:
    """What the answer to a question counts as when the PSP does not know the key."""
    psp = _simulator()

    async def not_found(*_given: object, **_more: object) -> HttpAnswer:
        return HttpAnswer(404, b'{"code":"not_found"}')

    vars(_http(psp))["request"] = not_found
    answer = asyncio.run(psp.query(psp_key=psp_key(_ORDER, 1), reference=None, timeout_s=1.0))
    return answer.result.name


def time_out_under_a_new_key() -> object:
    """How many keys a charge is sent under whose first answer never comes."""
    psp = _simulator()
    keys: list[str] = []

    async def silence(
        _method: str, _path: str, *, headers: Mapping[str, str], **_rest: object
    ) -> PspAnswer:
        keys.append(headers["Idempotency-Key"])
        return PspAnswer(result=ResultClass.UNKNOWN)

    vars(_http(psp))["request"] = silence
    asyncio.run(psp.charge(psp_key(_ORDER, 1), b"{}", timeout_s=1.0))
    return len(set(keys))
