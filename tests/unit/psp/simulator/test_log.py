"""The simulator's log: durable before it returns, whole after a crash, refused when damaged."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from psp.simulator.log import (
    CROWDED_COUNT,
    GROUP_SPACING_S,
    GROUP_SPACINGS_MAX,
    LOG_NAME,
    LOG_VERSION,
    DurableLog,
    LogUnusable,
)
from psp.simulator.records import BurnRecord, OpenRecord, Record

OPENING = OpenRecord(v=LOG_VERSION, name="s", seed=1)


def burn(n: int) -> BurnRecord:
    return BurnRecord(key=f"key.{n}", at_ms=n)


async def written(directory: Path, count: int) -> None:
    """Write ``count`` records, each in a group of its own."""
    log = DurableLog.opened(directory, OPENING, on_durable=lambda _record: None)
    for n in range(count):
        await log.append(burn(n))
    await log.close()


async def replayed(directory: Path) -> list[Record]:
    found: list[Record] = []
    log = DurableLog.opened(directory, OPENING, on_durable=found.append)
    await log.close()
    return found


async def test_a_replay_returns_what_was_appended_in_order(tmp_path: Path) -> None:
    """A log that is opened again hands over every record, in the order of the appends."""
    await written(tmp_path, 3)
    assert await replayed(tmp_path) == [OPENING, burn(0), burn(1), burn(2)]


async def test_concurrent_appends_share_an_fsync_and_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred appends at once cost a few group commits, are applied in order, and never before."""
    syncs: list[int] = []
    durable: list[Record] = []
    fdatasync = os.fdatasync

    def counted(descriptor: int) -> None:
        syncs.append(len(durable))
        fdatasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    log = DurableLog.opened(tmp_path, OPENING, on_durable=durable.append)
    await asyncio.gather(*(log.append(burn(n)) for n in range(100)))
    assert durable == [burn(n) for n in range(100)]
    assert syncs[0] == 0
    assert len(syncs) <= 5
    await log.close()


async def test_a_crowd_waits_only_as_long_as_more_of_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight that all wait are written after one look round more; who keeps coming is waited for, but not for ever."""
    pauses: list[float] = []
    comers = 0
    sleep = asyncio.sleep
    log = DurableLog.opened(tmp_path, OPENING, on_durable=lambda _record: None)
    late: list[asyncio.Task[None]] = []

    async def noted(seconds: float) -> None:
        pauses.append(seconds)
        late.extend(asyncio.ensure_future(log.append(burn(len(late)))) for _ in range(comers))
        await sleep(0)

    monkeypatch.setattr("psp.simulator.log.asyncio.sleep", noted)
    await asyncio.gather(*(log.append(burn(n)) for n in range(100, 108)))
    assert pauses == [0]
    pauses.clear()
    await asyncio.gather(*(log.append(burn(n)) for n in range(200, 208)))
    assert pauses == [GROUP_SPACING_S]
    pauses.clear()
    comers = CROWDED_COUNT
    await log.append(burn(300))
    assert pauses == [GROUP_SPACING_S] * GROUP_SPACINGS_MAX
    comers = 0
    await asyncio.gather(*late)
    await log.close()


@pytest.mark.parametrize("lost_bytes", [1, 20, 40, 49])
async def test_a_torn_tail_is_cut_off(tmp_path: Path, lost_bytes: int) -> None:
    """Whatever part of the last group is missing, the groups before it stay and can be added to."""
    await written(tmp_path, 3)
    path = tmp_path / LOG_NAME
    os.truncate(path, path.stat().st_size - lost_bytes)
    assert await replayed(tmp_path) == [OPENING, burn(0), burn(1)]
    log = DurableLog.opened(tmp_path, OPENING, on_durable=lambda _record: None)
    await log.append(burn(9))
    await log.close()
    assert await replayed(tmp_path) == [OPENING, burn(0), burn(1), burn(9)]


@pytest.mark.parametrize("garbage", [b"\0" * 200, b"#12 00000000\n{", b"\n", b"#"])
async def test_garbage_at_the_end_is_cut_off(tmp_path: Path, garbage: bytes) -> None:
    """What a power cut leaves behind the last whole group is ignored."""
    await written(tmp_path, 1)
    with (tmp_path / LOG_NAME).open("ab") as log:
        log.write(garbage)
    assert await replayed(tmp_path) == [OPENING, burn(0)]


async def test_damage_in_the_middle_is_refused(tmp_path: Path) -> None:
    """A flipped byte with whole records behind it is no torn tail: to cut there would lose charges."""
    await written(tmp_path, 3)
    path = tmp_path / LOG_NAME
    content = path.read_bytes()
    path.write_bytes(content.replace(b"key.1", b"key.7"))
    with pytest.raises(LogUnusable, match="damaged"):
        await replayed(tmp_path)
    assert path.stat().st_size == len(content)


async def test_a_log_has_one_writer_and_one_seed(tmp_path: Path) -> None:
    """A log that is open elsewhere, or was begun with another seed, is refused."""
    log = DurableLog.opened(tmp_path, OPENING, on_durable=lambda _record: None)
    with pytest.raises(LogUnusable, match="another process"):
        DurableLog.opened(tmp_path, OPENING, on_durable=lambda _record: None)
    await log.close()
    other = OpenRecord(v=LOG_VERSION, name="s", seed=2)
    with pytest.raises(LogUnusable, match="seed 1"):
        DurableLog.opened(tmp_path, other, on_durable=lambda _record: None)


async def test_a_failed_fsync_answers_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the disk refuses, the waiting and all later appends fail, and nothing is applied."""
    durable: list[Record] = []
    log = DurableLog.opened(tmp_path, OPENING, on_durable=durable.append)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(LogUnusable, match="No space left"):
        await log.append(burn(1))
    await asyncio.wait([log.writer])
    with pytest.raises(LogUnusable):
        await log.append(burn(2))
    with pytest.raises(LogUnusable):
        log.writer.result()
    assert durable == []
