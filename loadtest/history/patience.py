"""What a good client does about silence: the same again, a bounded number of times, with pauses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from loadtest.history.client import Ended

# Between two tries of one request: it doubles, with jitter, up to this.
PAUSE_S_FIRST = 0.2
PAUSE_S_MAX = 3.0
POLLS_MAX = 12

Ask = Callable[[], Awaitable[Ended]]


class Patience(NamedTuple):
    """How long one load's clients keep trying. ``stop`` ends all of it early."""

    tries_max: int
    draw: random.Random
    stop: asyncio.Event

    async def insist(self, ask: Ask) -> Ended:
        """Ask until it is answered for certain, a bounded number of times."""
        pause_s = PAUSE_S_FIRST
        for _ in range(self.tries_max - 1):
            ended = await ask()
            if not ended.is_worth_another_try or self.stop.is_set():
                return ended
            await asyncio.sleep(pause_s * self.draw.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, PAUSE_S_MAX)
        return await ask()

    async def poll(self, ask: Ask, is_enough: Callable[[Ended], bool]) -> Ended:
        """Read until it is enough, a bounded number of times; return the last answer."""
        pause_s = PAUSE_S_FIRST
        ended = await ask()
        for _ in range(POLLS_MAX - 1):
            if is_enough(ended) or self.stop.is_set():
                break
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)
            ended = await ask()
        return ended
