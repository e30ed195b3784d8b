"""Looked at each second: what operators want done with dead letters, evidence, PSPs' events that wait, and
pauses of intake that are over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from actors.careful import Care
from actors.lane_worker import LaneWorker
from actors.setting_aside import action_message
from payments.event_judging import answer_of
from payments.open_order import CallAnswer
from runtime.clock import Clock
from storage.ports import OwnerLedger, StorageUnavailable

_log = structlog.get_logger(__name__)

# An operator waits for this; four small queries of a host in it.
LOOK_EVERY_S = 1.0
ACTIONS_READ_MAX = 200
EVIDENCE_READ_MAX = 500
EVENTS_READ_MAX = 500
# In one look, so that an inbox is not filled with a backlog: 2,000 events a second and host.
EVENT_PAGES_MAX = 4
# How long a PSP's event waits for its order, or for the attempt that it names: longer than PSPs go on
# sending one, and than a dead letter should wait for its replay.
EVENT_WAIT_S_MAX = 3 * 86_400.0
# An action, or evidence, that was offered and has no result after this was lost with a flush: it is offered again.
OFFERED_AGAIN_S = 10.0


class LetterDesk:
    """Brings pending actions and evidence to their partitions, and lets paused partitions try again."""

    def __init__(
        self,
        ledger: OwnerLedger,
        lanes: Sequence[LaneWorker],
        working: Callable[[], frozenset[int]],
        reread: Callable[[frozenset[int]], None],
        care: Care,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._lanes = lanes
        self._working = working
        self._reread = reread
        self._care = care
        self._clock = clock
        self._offered_at_s: dict[int, float] = {}
        self._evidence_offered_at_s: dict[int, float] = {}
        self._told: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())
        """What the books were told last: the partitions at work, and those of them that are paused."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except StorageUnavailable as unavailable:
                _log.warning("letters_postponed", reason=unavailable.reason)

    async def look(self) -> None:
        """Look once. Raises StorageUnavailable."""
        working = self._working()
        if not working:
            return
        overrides = await self._ledger.letter_overrides()
        resumed: frozenset[int] = frozenset()
        for lane in self._lanes:
            lane.partitions.guard.overrides = overrides
            resumed |= lane.partitions.guard.resume_due()
        if resumed:
            _log.info("intake_resumed", partitions=sorted(resumed))
            self._reread(resumed)
        paused = working & frozenset().union(
            *(lane.partitions.guard.paused for lane in self._lanes)
        )
        if self._told != (working, paused):
            await self._ledger.note_paused(sorted(working), sorted(paused))
            self._told = (working, paused)
        await self._offer_actions(working)
        await self._offer_evidence(working)
        await self._offer_events(working)

    async def _offer_actions(self, working: frozenset[int]) -> None:
        actions = await self._ledger.pending_actions(sorted(working), count_max=ACTIONS_READ_MAX)
        now_s = self._clock.monotonic_s()
        offered_before = self._offered_at_s
        self._offered_at_s = {}
        for action in actions:
            offered_at_s = offered_before.get(action.action_no)
            if offered_at_s is None or now_s - offered_at_s > OFFERED_AGAIN_S:
                offered_at_s = now_s
                lane = self._lanes[action.partition_index % len(self._lanes)]
                lane.partitions.offer_messages(
                    action.partition_index, [action_message(action, now_s)]
                )
            self._offered_at_s[action.action_no] = offered_at_s

    async def _offer_evidence(self, working: frozenset[int]) -> None:
        pending = await self._ledger.pending_evidence(sorted(working), count_max=EVIDENCE_READ_MAX)
        now_s = self._clock.monotonic_s()
        offered_before = self._evidence_offered_at_s
        self._evidence_offered_at_s = {}
        for evidence in pending:
            offered_at_s = offered_before.get(evidence.evidence_no)
            if offered_at_s is None or now_s - offered_at_s > OFFERED_AGAIN_S:
                if not self._offer(evidence.answer()):
                    continue
                offered_at_s = now_s
            self._evidence_offered_at_s[evidence.evidence_no] = offered_at_s

    async def _offer_events(self, working: frozenset[int]) -> None:
        """Offer PSPs' events whose turn it is; those that can't be judged yet have their next turn later."""
        for _ in range(EVENT_PAGES_MAX):
            found = await self._ledger.due_psp_events(
                sorted(working), count_max=EVENTS_READ_MAX, wait_s_max=EVENT_WAIT_S_MAX
            )
            for event in found:
                if event.order_no is not None or event.is_overdue:
                    self._offer(answer_of(event))
            if len(found) < EVENTS_READ_MAX:
                return

    def _offer(self, said: CallAnswer) -> bool:
        """Offer evidence, or have it tried first: False where it has to come again."""
        partitions = self._lanes[said.partition_index % len(self._lanes)].partitions
        if not partitions.admits_evidence(said):
            return False
        if not self._care.takes_answer(said):
            partitions.offer_answer(said)
        return True
