"""The read-through cache: fresh, stale, absent, bounded, asked once."""

from __future__ import annotations

import asyncio

import pytest

from gateway.caches import ABSENT_COUNT_MAX, ASK_AGAIN_S, ReadThroughCache
from runtime.faults import StorageUnavailable
from tests.unit.gateway.ticking import TickingClock


class Source:
    """What the cache reads: a dictionary that can be away."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {"a": "1", "b": "2", "c": "3"}
        self.is_available = True
        self.asked: list[str] = []

    async def load(self, key: str) -> str | None:
        self.asked.append(key)
        await asyncio.sleep(0)
        if not self.is_available:
            raise StorageUnavailable("postgres", "away")
        return self.values.get(key)


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def cache(source: Source, clock: TickingClock) -> ReadThroughCache[str, str]:
    return ReadThroughCache(
        source.load, clock=clock, fresh_s=30, stale_s_max=900, absent_s=5, count_max=2
    )


async def test_a_fresh_value_is_not_asked_for_again(
    cache: ReadThroughCache[str, str], source: Source, clock: TickingClock
) -> None:
    """Within its freshness a value comes from memory, after it from the source."""
    assert cache.fresh("a") is None
    assert await cache.get("a") == "1"
    source.values["a"] = "9"
    assert cache.fresh("a") == await cache.get("a") == "1"
    clock.pass_s(30)
    assert cache.fresh("a") is None
    assert await cache.get("a") == "9"
    assert source.asked == ["a", "a"]


async def test_an_outage_is_survived_for_a_while(
    cache: ReadThroughCache[str, str], source: Source, clock: TickingClock
) -> None:
    """While the source is away a value serves until it is too old; unknown ones never do."""
    await cache.get("a")
    source.is_available = False
    clock.pass_s(899)
    assert await cache.get("a") == "1"
    with pytest.raises(StorageUnavailable):
        await cache.get("b")
    clock.pass_s(1)
    with pytest.raises(StorageUnavailable):
        await cache.get("a")


async def test_absence_is_remembered_for_a_moment(
    cache: ReadThroughCache[str, str], source: Source, clock: TickingClock
) -> None:
    """A key that does not exist is not asked for at every request, and appears soon after."""
    assert await cache.get("new") is None
    source.values["new"] = "4"
    assert await cache.get("new") is None
    clock.pass_s(5)
    assert await cache.get("new") == "4"


async def test_made_up_keys_push_nothing_out(
    cache: ReadThroughCache[str, str], source: Source
) -> None:
    """A flood of keys that don't exist leaves those that do in memory, and stays bounded."""
    await cache.get("a")
    for number in range(ABSENT_COUNT_MAX + 10):
        await cache.get(f"made up {number}")
    assert cache.fresh("a") == "1"
    assert len(cache._absent_at_s) == ABSENT_COUNT_MAX


async def test_the_least_recently_used_goes(cache: ReadThroughCache[str, str]) -> None:
    """The cache is bounded."""
    for key in ("a", "b", "a", "c"):
        await cache.get(key)
    assert (cache.fresh("a"), cache.fresh("b"), cache.fresh("c")) == ("1", None, "3")


async def test_many_who_ask_at_once_cost_one_question(
    cache: ReadThroughCache[str, str], source: Source
) -> None:
    """Concurrent requests for one key share one question, also when one of them gives up."""
    asked = [asyncio.create_task(cache.get("a")) for _ in range(5)]
    await asyncio.sleep(0)
    asked[0].cancel()
    assert await asyncio.gather(*asked[1:]) == ["1"] * 4
    assert source.asked == ["a"]


async def test_what_was_written_is_known_at_once(
    cache: ReadThroughCache[str, str], source: Source
) -> None:
    """A value put after its absence was noted is served."""
    assert await cache.get("new") is None
    cache.put("new", "4")
    assert await cache.get("new") == "4"


async def test_a_silent_source_delays_nobody_who_has_an_old_value(
    source: Source, clock: TickingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the source stands still an old value is served soon, and the answer is kept when it comes."""
    monkeypatch.setattr("gateway.caches.PATIENCE_S", 0.01)
    answering = asyncio.Event()
    answering.set()

    async def load(key: str) -> str | None:
        await answering.wait()
        return await source.load(key)

    cache = ReadThroughCache(
        load, clock=clock, fresh_s=30, stale_s_max=900, absent_s=5, count_max=2
    )
    assert await cache.get("a") == "1"
    answering.clear()
    source.values["a"] = "9"
    clock.pass_s(31)
    assert await asyncio.wait_for(cache.get("a"), 5) == "1"
    answering.set()
    async with asyncio.timeout(5):
        while cache.fresh("a") != "9":
            await asyncio.sleep(0)


async def test_a_source_that_just_failed_is_not_asked_for_each_request(
    cache: ReadThroughCache[str, str], source: Source, clock: TickingClock
) -> None:
    """During an outage old values come from memory, and the source is asked once a second."""
    await cache.get("a")
    source.is_available = False
    clock.pass_s(31)
    for _ in range(5):
        assert await cache.get("a") == "1"
    assert source.asked == ["a", "a"]
    source.is_available = True
    source.values["a"] = "9"
    clock.pass_s(ASK_AGAIN_S)
    assert await cache.get("a") == "9"


@pytest.mark.parametrize("key", ["new", "a"])
async def test_what_was_written_outlives_a_read_from_before(
    cache: ReadThroughCache[str, str], source: Source, key: str
) -> None:
    """Whoever was told that it exists must not hear from the same cache that it does not."""
    before = asyncio.create_task(cache.get(key))
    await asyncio.sleep(0)
    source_said = source.values.get(key)
    cache.put(key, "written")
    assert await before == source_said
    assert cache.fresh(key) == await cache.get(key) == "written"
    assert source.asked == [key]
