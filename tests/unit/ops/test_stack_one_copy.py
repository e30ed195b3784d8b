"""One copy accepted for a time: off the record first, ended by itself, also after a new start."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.local.faults import LocalFault
from ops.stack.one_copy import GRACE_S, OneCopyTerm
from tests.fakes.fake_copies import FakeCopies
from tests.manual_clock import ManualClock


class Site:
    """A store, and what was applied to it."""

    def __init__(self, root: Path) -> None:
        self.copies = FakeCopies(root)
        self.clock = ManualClock()
        self.applied: list[tuple[float, list[int]]] = []
        self.is_deaf = False
        self.term = self.new_term()

    def new_term(self) -> OneCopyTerm:
        return OneCopyTerm(self.copies, self._apply, clock=self.clock)

    async def _apply(self, for_s: float) -> None:
        if self.is_deaf:
            raise LocalFault("away")
        self.applied.append((for_s, self.copies.file.read().in_sync))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_the_record_is_cleared_before_anything_rests_on_one_copy(site: Site) -> None:
    """When the first acknowledgement on one copy is possible, no other one is in sync any more."""
    await site.term.accept(60.0, "test")
    assert site.applied == [(60.0, [])]


async def test_it_ends_by_itself_and_others_are_believed_only_later(site: Site) -> None:
    """After the time nobody rests on it; and who was told before is given the time to notice."""
    await site.term.accept(60.0, "test")
    site.clock.advance(59.0)
    await site.term.look()
    assert len(site.applied) == 1
    site.clock.advance(1.0)
    await site.term.look()
    assert site.applied[-1][0] == 0.0
    record = site.copies.file.read()
    assert record.one_copy is not None
    assert record.is_second_awaited
    site.copies.file.mark_in_sync(primary=1, other=2)
    assert site.copies.file.read().in_sync == []
    site.clock.advance(GRACE_S)
    await site.term.look()
    assert site.copies.file.read().one_copy is None
    site.copies.file.mark_in_sync(primary=1, other=2)
    assert site.copies.file.read().in_sync == [2]
    events = [event.what for event in site.copies.file.read().history]
    assert events == ["one_copy_accepted", "one_copy_ended"]


async def test_an_end_that_fails_is_tried_again(site: Site) -> None:
    """While the store can't be told, the record goes on saying that one copy is accepted."""
    await site.term.accept(10.0, "test")
    site.is_deaf = True
    site.clock.advance(10.0)
    await site.term.look()
    record = site.copies.file.read()
    assert record.one_copy is not None
    assert not record.is_second_awaited
    site.is_deaf = False
    await site.term.look()
    assert site.copies.file.read().is_second_awaited


async def test_a_wish_that_fails_ends_at_once(site: Site) -> None:
    """It may have begun all the same, so it is ended in good order."""
    site.is_deaf = True
    with pytest.raises(LocalFault):
        await site.term.accept(600.0, "test")
    site.is_deaf = False
    await site.term.look()
    assert site.applied == [(0.0, [])]


async def test_a_new_daemon_ends_what_the_former_one_began(site: Site) -> None:
    """Nothing of it lives in memory alone."""
    await site.term.accept(60.0, "test")
    term = site.new_term()
    await term.look()
    assert len(site.applied) == 1
    site.clock.advance(60.0)
    await term.look()
    assert site.applied[-1][0] == 0.0
