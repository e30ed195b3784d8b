"""Whether the feed moves: a transaction that runs for ever would end it for everybody, without a word."""

from __future__ import annotations

from actors.dispatcher_settings import HELD_UP_S
from payments.feed import FeedPosition
from runtime.clock import Clock
from runtime.logs import get_logger
from storage.event_feed import EventFeed


class HeldUpWatch:
    """How long the feed has ended at the same place while others wrote behind it."""

    def __init__(self, feed: EventFeed, clock: Clock) -> None:
        self._feed = feed
        self._clock = clock
        self._log = get_logger("actors.held_up")
        self._horizon: FeedPosition | None = None
        self._since_s = 0.0
        self._is_told = False
        self.seconds = 0.0

    async def look(self) -> None:
        """Look once. Raises StorageUnavailable."""
        horizon, is_held = await self._feed.horizon_held()
        now_s = self._clock.monotonic_s()
        if horizon != self._horizon or not is_held:
            self._horizon, self._since_s, self._is_told = horizon, now_s, False
        self.seconds = now_s - self._since_s
        if self.seconds > HELD_UP_S and not self._is_told:
            self._is_told = True
            self._log.warning(
                "feed_held_up", db_transaction=horizon.db_transaction, seconds=round(self.seconds)
            )
