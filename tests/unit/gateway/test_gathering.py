"""Gathered reads: few calls for many keys, and nobody left waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from gateway.gathering import GATHERED_CALLS_MAX, GATHERED_KEYS_MAX, Gathering
from runtime.faults import StorageUnavailable


class Source:
    """Squares of even numbers; odd ones don't exist. Each call waits for its turn to answer."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may_answer = asyncio.Event()
        self.fault: Exception | None = None

    async def read(self, keys: Sequence[int]) -> Mapping[int, int]:
        self.calls.append(list(keys))
        await self.may_answer.wait()
        if self.fault is not None:
            raise self.fault
        return {key: key * key for key in keys if key % 2 == 0}


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_keys_asked_for_together_are_one_call() -> None:
    """Whoever asks in one turn shares a call, a key asked for twice is read once, and absent is None."""
    source = Source()
    gathering = Gathering(source.read)
    answers = [gathering.load(key) for key in (2, 3, 4, 2)]
    source.may_answer.set()
    assert await asyncio.gather(*answers) == [4, None, 16, 4]
    assert source.calls == [[2, 3, 4]]


async def test_calls_are_bounded_in_number_and_size() -> None:
    """While the source is slow, no more calls than the limit run, none above its size, and all are answered."""
    source = Source()
    gathering = Gathering(source.read)
    answers = []
    for key in range(GATHERED_CALLS_MAX + 3):
        answers.append(gathering.load(key))
        await turns()
    late = [gathering.load(1_000 + key) for key in range(2 * GATHERED_KEYS_MAX)]
    await turns()
    assert source.calls == [[key] for key in range(GATHERED_CALLS_MAX)]
    source.may_answer.set()
    found = await asyncio.gather(*answers, *late)
    assert found[-1] is None
    assert found[-2] == (999 + 2 * GATHERED_KEYS_MAX - 1) ** 2
    assert max(len(call) for call in source.calls) == GATHERED_KEYS_MAX


async def test_a_fault_reaches_everybody_of_its_call_alone() -> None:
    """What the source raises is each asker's; the next call asks again."""
    source = Source()
    source.may_answer.set()
    source.fault = StorageUnavailable("postgres", "away")
    gathering = Gathering(source.read)
    results = await asyncio.gather(*map(gathering.load, (2, 4)), return_exceptions=True)
    assert [type(result) for result in results] == [StorageUnavailable] * 2
    source.fault = None
    assert await gathering.load(2) == 4


async def test_an_asker_who_gave_up_takes_nothing_from_the_others() -> None:
    """A cancelled answer is passed over, whether the call then succeeds or fails."""
    for fault in (None, StorageUnavailable("postgres", "away")):
        source = Source()
        source.fault = fault
        gathering = Gathering(source.read)
        given_up, other = gathering.load(2), gathering.load(4)
        await turns()
        given_up.cancel()
        source.may_answer.set()
        if fault is None:
            assert await other == 16
        else:
            with pytest.raises(StorageUnavailable):
                await other


async def test_a_defect_is_seen_by_whoever_waits_and_in_the_log() -> None:
    """A reader that fails in another way ends its askers too, and the loop's handler hears of it."""
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: heard.append(context["exception"])
    )
    source = Source()
    source.may_answer.set()
    source.fault = ValueError("a defect")
    with pytest.raises(RuntimeError, match="ValueError"):
        await Gathering(source.read).load(2)
    await turns()
    assert heard == [source.fault]
