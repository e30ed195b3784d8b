"""Keeping a store alive: in place first, promoted at last, and never a copy that lacks something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ops.local.copies import OneCopy
from ops.local.faults import PromotionRefused
from ops.stack import store_keeping
from ops.stack.one_copy import OneCopyTerm
from ops.stack.store_keeping import FAILED_STARTS_MAX, StoreKeeper
from ops.stack.watched_server import CUT_OFF_S, FROZEN_S, PING_EVERY_S
from tests.fakes.fake_copies import FakeCopies
from tests.manual_clock import ManualClock


class Watch:
    """A keeper at work, and what it told."""

    def __init__(self, root: Path) -> None:
        self.copies = FakeCopies(root)
        self.clock = ManualClock()
        self.problems: dict[str, str] = {}
        self.told: list[str] = []
        self.promoted: list[str] = []
        self.applied: list[float] = []
        term = OneCopyTerm(self.copies, self._apply, clock=self.clock)
        self.keeper = StoreKeeper(
            self.copies,
            term,
            self._report,
            clock=self.clock,
            on_promoted=lambda event, _is_forced: self.promoted.append(event.node),
        )

    async def _apply(self, for_s: float) -> None:
        self.applied.append(for_s)

    def _report(self, name: str, problem: str | None) -> None:
        self.problems.pop(name, None)
        if problem is not None:
            self.problems[name] = problem
            self.told.append(f"{name} {problem}")

    async def pass_time(self, seconds: float) -> None:
        """Let time pass second by second, with looks in between."""
        for _ in range(round(seconds)):
            self.clock.advance(1.0)
            await asyncio.sleep(0.01)

    def history(self) -> list[str]:
        return [f"{event.node} {event.what}" for event in self.copies.file.read().history]


@pytest.fixture
async def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watch]:
    monkeypatch.setattr(store_keeping, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(store_keeping, "LINK_EVERY_S", 0.001)
    monkeypatch.setattr("ops.stack.deaths.BACKOFF_S_FIRST", 0.001)
    monkeypatch.setattr("ops.stack.deaths.BACKOFF_S_MAX", 0.002)
    watch = Watch(tmp_path)
    task = asyncio.create_task(watch.keeper.run())
    yield watch
    assert not task.done(), "the keeper itself never ends"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(is_true: Callable[[], bool]) -> None:
    """Wait, for five seconds at most."""
    for _ in range(5_000):
        if is_true():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not happen")


async def test_a_dead_primary_is_started_in_place(watch: Watch) -> None:
    """A death alone changes no role."""
    primary = watch.copies.primary()
    primary.is_running = False
    await until(lambda: watch.history() == ["fake_1 restarted"] and not watch.problems)
    assert primary.is_running
    assert watch.copies.file.read().primary == 1


async def test_both_servers_are_mended_side_by_side(watch: Watch) -> None:
    """A second copy that does not come back holds up nobody."""
    primary, secondary = watch.copies.nodes
    secondary.refuses_to_start = True
    secondary.is_running = primary.is_running = False
    await until(lambda: primary.is_running and "fake_1" not in watch.problems)


async def test_a_frozen_primary_is_killed_and_started_again(watch: Watch) -> None:
    """A process that lives and does not react is no primary; it can't thaw into one."""
    primary = watch.copies.primary()
    primary.is_frozen = True
    await watch.pass_time(FROZEN_S + 2 * PING_EVERY_S)
    await until(lambda: watch.history() == ["fake_1 restarted"])
    assert primary.kill_count == 1


async def test_lost_data_promotes_the_copy_in_sync(watch: Watch) -> None:
    """The primary is killed, the other copy leads, the former one is copied anew."""
    first, second = watch.copies.nodes
    first.has_data = False
    await until(lambda: watch.history()[-1:] == ["fake_1 rebuilt"])
    assert watch.history() == ["fake_2 promoted", "fake_1 rebuilt"]
    assert watch.copies.primary() is second
    assert first.kill_count == 1
    assert watch.promoted == ["fake_2"]


async def test_data_that_cannot_be_read_is_lost(watch: Watch) -> None:
    """A directory that gives errors is no data to start on."""
    watch.copies.nodes[0].is_unreadable = True
    await until(lambda: "fake_2 promoted" in watch.history())


async def test_data_that_is_away_for_a_moment_is_not_lost(watch: Watch) -> None:
    """One look is no proof: directories are exchanged by renaming."""
    node = watch.copies.nodes[0]
    node.has_data = False
    await asyncio.sleep(0)
    node.has_data = True
    await asyncio.sleep(0.02)
    assert watch.history() == []


async def test_starts_that_fail_lead_to_a_promotion(watch: Watch) -> None:
    """Data on which a server does not start any more is as good as lost, after so many tries."""
    first = watch.copies.nodes[0]
    first.refuses_to_start = True
    first.is_running = False
    await until(lambda: "fake_2 promoted" in watch.history())
    tries = [told for told in watch.told if told.startswith("fake_1 did not start")]
    assert len(tries) == FAILED_STARTS_MAX
    assert watch.copies.file.read().history[0].reason.startswith("3 starts on its data failed")


async def test_a_full_disk_waits_for_room(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no room nothing is promoted; once there is room the server starts on its data."""
    is_full = True
    monkeypatch.setattr(store_keeping, "is_disk_full", lambda *_: is_full)
    watch.copies.primary().is_running = False
    await until(lambda: "its disk is full" in watch.problems.get("fake_1", ""))
    await asyncio.sleep(0.05)
    assert watch.history() == []
    is_full = False
    await until(lambda: watch.history() == ["fake_1 restarted"])


@pytest.mark.parametrize("reason", ["never in sync", "one copy accepted", "dead too"])
async def test_nothing_leads_that_may_lack_something(watch: Watch, reason: str) -> None:
    """Without a copy known to hold everything the store stays down, and says why."""
    first, second = watch.copies.nodes
    watch.copies.is_following = False
    if reason == "never in sync":
        watch.copies.file.forget(2)
    elif reason == "one copy accepted":
        accepted = OneCopy(until="2030-01-01T00:00:00+00:00", actor="test")
        watch.copies.file.change(one_copy=accepted)
    else:
        second.refuses_to_start = True
        second.is_running = False
    first.has_data = first.is_running = False
    await until(lambda: "no other copy can lead" in watch.problems.get("fake_1", ""))
    await asyncio.sleep(0.05)
    assert watch.copies.primary() is first
    assert "promoted" not in "".join(watch.history())
    assert watch.copies.rebuild_count == 0, "what the second copy has is all that is left"


async def test_a_refusal_does_not_cost_the_primary_its_life(watch: Watch) -> None:
    """An operator's wish that can't be granted ends nothing."""
    watch.copies.is_following = False
    watch.copies.file.forget(2)
    with pytest.raises(PromotionRefused):
        await watch.keeper.promote("test")
    assert watch.copies.primary().is_running
    with pytest.raises(PromotionRefused, match="nothing to force"):
        await watch.keeper.promote("test", is_forced=True)


async def test_force_takes_what_is_there_in_place_of_a_dead_primary(watch: Watch) -> None:
    """The operator may decide that some is better than nothing, when nothing else is left."""
    watch.copies.is_following = False
    watch.copies.file.forget(2)
    watch.copies.nodes[0].has_data = watch.copies.nodes[0].is_running = False
    event = await watch.keeper.promote("test", is_forced=True)
    assert event.node == "fake_2"


async def test_a_lost_second_copy_is_copied_anew_and_in_sync_again(watch: Watch) -> None:
    """It is off the record before it is touched, and on it again when it has everything."""
    watch.copies.secondary().has_data = False
    await until(lambda: watch.history() == ["fake_2 rebuilt"])
    await until(lambda: watch.copies.file.read().in_sync == [2])
    assert watch.copies.primary().is_running


async def test_a_second_copy_that_does_not_follow_is_started_then_copied(watch: Watch) -> None:
    """First by a new start; if that does not help, it is copied anew."""
    watch.copies.is_following = False
    await until(lambda: "fake_2" in watch.problems)
    await watch.pass_time(CUT_OFF_S + 2)
    await until(lambda: "fake_2 restarted" in watch.history())
    await watch.pass_time(CUT_OFF_S + 2)
    await until(lambda: "fake_2 rebuilt" in watch.history())


async def test_without_a_primary_nobody_is_blamed_for_not_following(watch: Watch) -> None:
    """A second copy that waits for its primary is left in peace: it may have to lead."""
    first, second = watch.copies.nodes
    first.refuses_to_start = True
    first.is_running = False
    watch.copies.is_following = False
    watch.copies.file.forget(2)
    await watch.pass_time(2 * CUT_OFF_S)
    assert second.kill_count == 0
