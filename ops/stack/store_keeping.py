"""Keeping one store alive: each server is watched alone, started in place, and promoted at last.

A primary that died, or froze, is killed for good and started again on its data. Only when that data
is gone, or three starts on it failed, another copy takes its place, and only one that is known to
hold everything acknowledged (ops.local.copies). A full disk is no reason: making room brings
everything back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ops.local.copies import Node, StoreCopies, StoreEvent, choose
from ops.local.faults import LocalFault, PortInUse, PromotionRefused
from ops.local.logs import log_tail
from ops.local.resp import RespError
from ops.local.space import is_disk_full
from ops.stack.one_copy import OneCopyTerm
from ops.stack.watched_server import CUT_OFF_S, FROZEN_S, WatchedServer
from runtime.clock import Clock
from runtime.logs import get_logger

_log = get_logger(__name__)

LOOK_EVERY_S = 0.2
# Data that a server refused so often is not going to be accepted the next time.
FAILED_STARTS_MAX = 3
# Whoever has the port may keep it for long.
PORT_TAKEN_PAUSE_S = 1.0
# A look costs a psql: rarely, as long as all is well.
LINK_EVERY_S = 2.0

Report = Callable[[str, str | None], None]

_FAULTS = (LocalFault, RespError, OSError, TimeoutError)


class StoreKeeper:
    """Watches the two servers of one store until cancelled."""

    def __init__(
        self,
        copies: StoreCopies,
        term: OneCopyTerm,
        report: Report,
        *,
        clock: Clock,
        on_promoted: Callable[[StoreEvent, bool], None] = lambda _event, _is_forced: None,
    ) -> None:
        self._copies = copies
        self._report = report
        self._clock = clock
        self._on_promoted = on_promoted
        self._seen: dict[str, WatchedServer] = {}
        # A change of roles needs both; else each server is mended without waiting for the other.
        self._primary_turn = asyncio.Lock()
        self._secondary_turn = asyncio.Lock()
        self._term = term
        self._is_primary_well = True
        self.is_following = True
        """Whether the second copy was connected at the last look."""

    async def run(self) -> None:
        """Watch both servers, and the link between them."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self._look_at_primary))
            group.create_task(self._repeat(self._look_at_secondary))
            group.create_task(self._watch_link())

    async def promote(self, reason: str, *, is_forced: bool = False) -> StoreEvent:
        """Kill the primary and let the other copy lead, then have the former one copied anew.

        Raises PromotionRefused, and changes nothing then, but that a primary which was dead stays
        so. ``is_forced`` takes a copy that may lack something, and only in place of a dead primary.
        """
        async with self._primary_turn, self._secondary_turn:
            began_s = self._clock.monotonic_s()
            former, other = self._copies.primary(), self._copies.secondary()
            if is_forced and former.is_running and self._copies.has_data(former):
                raise PromotionRefused(f"{former.name} lives: there is nothing to force")
            record = self._copies.file.read()
            # Asked before anything is ended: a refusal must not cost the primary its life.
            choose([await self._copies.position(other)], record, is_forced=is_forced)
            await former.kill()
            chosen = choose([await self._copies.position(other)], record, is_forced=is_forced)
            await self._copies.promote(chosen)
            event = self._event("promoted", other, reason, began_s)
            self._seen.clear()
        self._on_promoted(event, is_forced)
        self._report(former.name, "is copied anew: it led before")
        return event

    async def is_primary_up(self) -> bool:
        """Does the primary live and react, with its data in place?"""
        primary = self._copies.primary()
        return (
            primary.is_running and self._copies.has_data(primary) and await primary.answers_at_all()
        )

    async def _repeat(self, look: Callable[[], Awaitable[None]]) -> None:
        is_told = False
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await look()
            except _FAULTS as fault:
                self._report(self._copies.name, str(fault))
                is_told = True
            else:
                if is_told:
                    self._report(self._copies.name, None)
                is_told = False

    async def _look_at_primary(self) -> None:
        async with self._primary_turn:
            node = self._copies.primary()
            why_promote = await self._mend_primary(node)
        if why_promote is None:
            return
        try:
            await self.promote(why_promote)
        except _FAULTS as fault:
            self._report(node.name, f"{why_promote}, and no other copy can lead: {fault}")
            await asyncio.sleep(self._watched(node).deaths.backoff_s(self._clock.monotonic_s()))

    async def _mend_primary(self, node: Node) -> str | None:
        """Start it in place where need be. Returns why it can't come back, if it can't."""
        watched = self._watched(node)
        watched.look_at_data(lambda: self._copies.has_data(node))
        self._is_primary_well = watched.is_data_there and node.is_running
        if watched.is_data_lost:
            watched.deaths.note(self._clock.monotonic_s())
            return f"its data is gone ({node.directory})"
        if not watched.is_data_there:
            return None  # the next look decides
        if not node.is_running:
            await self._restart(node, self._copies.start_primary)
            if watched.failed_start_count >= FAILED_STARTS_MAX:
                return f"{watched.failed_start_count} starts on its data failed"
        elif await watched.is_frozen(node, self._clock.monotonic_s()):
            await self._kill_frozen(node)
        else:
            self._all_well(node, watched)
        return None

    async def _look_at_secondary(self) -> None:
        async with self._secondary_turn:
            node = self._copies.secondary()
            watched = self._watched(node)
            try:
                await self._mend_secondary(node, watched)
            except _FAULTS as fault:
                watched.deaths.note(self._clock.monotonic_s())
                self._report(node.name, f"is tried again: {fault}")
                pause_s = watched.deaths.backoff_s(self._clock.monotonic_s())
            else:
                pause_s = 0.0
        await asyncio.sleep(pause_s)

    async def _mend_secondary(self, node: Node, watched: WatchedServer) -> None:
        watched.look_at_data(lambda: self._copies.has_data(node))
        if watched.is_data_lost or watched.failed_start_count >= FAILED_STARTS_MAX:
            await self._rebuild(node, "its data is gone or can't be used")
        elif not watched.is_data_there:
            return  # the next look decides
        elif not node.is_running:
            self.is_following = False
            await self._restart(node, self._copies.start_secondary)
        elif await watched.is_frozen(node, self._clock.monotonic_s()):
            await self._kill_frozen(node)
        elif watched.is_cut_off(
            self._clock.monotonic_s(),
            # Without a primary there is nobody to follow.
            is_following=self.is_following or not self._is_primary_well,
        ):
            await self._reconnect(node, watched)
        elif self.is_following:
            self._all_well(node, watched)
        else:
            self._report(node.name, "does not follow the primary")

    async def _reconnect(self, node: Node, watched: WatchedServer) -> None:
        """First by a new start, then by a new copy: what it holds may not fit any more."""
        watched.give_time(self._clock.monotonic_s())
        if not watched.is_reconnected:
            watched.is_reconnected = True
            await node.kill()
        else:
            await self._rebuild(node, f"it did not follow for {CUT_OFF_S:.0f} s")

    async def _rebuild(self, node: Node, reason: str) -> None:
        """Only from a primary that lives: what this copy has may be all that is left."""
        if not await self.is_primary_up():
            self._report(node.name, f"{reason}, and the primary is away")
            return
        began_s = self._clock.monotonic_s()
        self._report(node.name, f"{reason}: it is copied anew")
        self.is_following = False
        await self._copies.rebuild_secondary()
        self._seen.pop(node.name, None)
        self._event("rebuilt", node, reason, began_s)

    async def _restart(self, node: Node, start: Callable[[], Awaitable[None]]) -> None:
        """Start a dead server on its data, after a pause that grows with its deaths."""
        watched = self._watched(node)
        began_s = self._clock.monotonic_s()
        if is_disk_full(node.directory):
            self._report(node.name, f"its disk is full: make room in {node.directory}")
            return
        watched.deaths.note(began_s)
        code = None if node.process is None else node.process.returncode
        log_path = None if node.process is None else node.process.log_path
        tail = "" if log_path is None else f"\n{log_tail(log_path)}"
        why = "it was killed" if code is None else f"it ended with code {code}"
        self._report(node.name, f"is started again, {why}{tail}")
        await asyncio.sleep(watched.deaths.backoff_s(began_s))
        try:
            await start()
        except PortInUse as taken:
            # Says nothing about the server, and nothing about its data.
            watched.deaths.take_back()
            self._report(node.name, str(taken))
            await asyncio.sleep(PORT_TAKEN_PAUSE_S)
        except _FAULTS as fault:
            if is_disk_full(node.directory, log_path):
                self._report(node.name, f"its disk is full: make room in {node.directory}")
                return
            watched.failed_start_count += 1
            self._report(node.name, f"did not start: {fault}")
        else:
            watched.started()
            self._event("restarted", node, why, began_s)

    async def _kill_frozen(self, node: Node) -> None:
        self._report(node.name, f"did not answer for {FROZEN_S:.0f} s: it is killed")
        _log.warning("store_frozen", node=node.name)
        await node.kill()

    async def _watch_link(self) -> None:
        while True:
            await self._term.look()
            try:
                # Not while it is being copied anew: what is seen then is over when it is noted.
                async with self._secondary_turn:
                    self.is_following = await self._copies.look()
            except _FAULTS as fault:
                self.is_following = False
                _log.warning("store_link_unknown", store=self._copies.name, reason=str(fault))
            await asyncio.sleep(LINK_EVERY_S if self.is_following else LOOK_EVERY_S)

    def _all_well(self, node: Node, watched: WatchedServer) -> None:
        watched.is_reconnected = False
        if is_disk_full(node.directory):
            # It may go on for long, refusing whatever needs room, before it ends.
            self._report(node.name, f"its disk is full: make room in {node.directory}")
        elif not watched.deaths.is_loop(self._clock.monotonic_s()):
            self._report(node.name, None)

    def _watched(self, node: Node) -> WatchedServer:
        return self._seen.setdefault(node.name, WatchedServer())

    def _event(self, what: str, node: Node, reason: str, began_s: float) -> StoreEvent:
        event = StoreEvent(
            at=self._clock.now().isoformat(timespec="milliseconds"),
            what=what,
            node=node.name,
            reason=reason,
            took_s=round(self._clock.monotonic_s() - began_s, 3),
        )
        self._copies.file.note(event)
        _log.warning(
            "store_changed",
            store=self._copies.name,
            what=what,
            node=node.name,
            reason=reason,
            took_s=event.took_s,
        )
        return event
