"""An operator's word that one copy is enough: believed for a moment, and read again."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from runtime.faults import StorageUnavailable
from storage import one_copy
from storage.one_copy import OneCopyWatch
from storage.queue_settings import QueueSettings
from storage.read_pool import ReadPool


class FakePool:
    """Answers with the seconds that are left; None: nobody ever accepted."""

    def __init__(self, left_s: float | None) -> None:
        self.left_s = left_s
        self.is_away = False

    async def fetchrow(self, _sql: str) -> dict[str, float] | None:
        if self.is_away:
            raise StorageUnavailable("postgres", "away")
        return None if self.left_s is None else {"left_s": self.left_s}


def watch_of(pool: FakePool) -> OneCopyWatch:
    return OneCopyWatch(cast(ReadPool, pool))


@pytest.mark.parametrize(
    ("left_s", "awaited"), [(None, 1), (-1.0, 1), (0.0, 1), (60.0, 0)], ids=str
)
async def test_replicas_are_awaited_unless_one_copy_is_accepted(
    left_s: float | None, awaited: int
) -> None:
    """Only while there is time left the primary alone is enough."""
    watch = watch_of(FakePool(left_s))
    settings = QueueSettings(
        url="redis://localhost",
        replicas_awaited=1,
        replica_count=1,
        stream_length_max=1,
        record_count_max=2,
        one_copy=watch,
    )
    assert settings.replicas_awaited_now == 1, "before the first look"
    await watch.look()
    assert settings.replicas_awaited_now == awaited


async def test_what_was_read_is_believed_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the books are away all copies are waited for again, whatever was promised."""
    monkeypatch.setattr(one_copy, "BELIEVED_S", 0.05)
    pool = FakePool(600.0)
    watch = watch_of(pool)
    await watch.look()
    assert watch.is_accepted
    pool.is_away = True
    await asyncio.sleep(0.06)
    await watch.look()
    assert not watch.is_accepted
