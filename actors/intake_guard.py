"""When too much of what comes in can't be taken in: then the fault is rather ours than the messages'.

A release that can't read what the one before wrote would set everything aside. So a partition of whose
latest messages most would become dead letters stops taking in, keeps its messages on the stream, and
tries again after a pause, at a restart, or when an operator accepts the letters.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from actors.setting_aside import is_letter
from runtime.clock import Clock
from storage.queue_ports import Message

_log = structlog.get_logger(__name__)

# More than this share of the latest messages, and at least so many of them. One bad client, or a handful
# of damaged messages in a quiet partition, must not stop it; a bad release leaves at most so many behind.
LETTERS_SHARE_MAX = 0.5
LETTERS_COUNT_MIN = 32

# How many messages before a batch count with it: enough for batches of one to add up.
WINDOW_MESSAGES = 64

# A new release, or a rollback, takes minutes; a try costs one read.
PAUSE_S = 15.0


class IntakeGuard:
    """Counts letters among the latest messages of a lane's partitions. Costs nothing while there are none."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._latest: dict[int, list[bool]] = {}
        """Whether each of the latest messages became a letter; only where one did."""
        self._paused_until_s: dict[int, float] = {}
        self.overrides: frozenset[int] = frozenset()
        """Partitions whose letters an operator accepts, however many."""

    @property
    def paused(self) -> frozenset[int]:
        """Partitions that take nothing in now."""
        return frozenset(self._paused_until_s)

    def admits(self, partition_index: int, messages: Sequence[Message]) -> bool:
        """Whether a batch may be taken in, its letters set aside."""
        letter_count = sum(map(is_letter, messages))
        return self.admits_count(partition_index, letter_count, len(messages))

    def admits_count(self, partition_index: int, letter_count: int, message_count: int) -> bool:
        """The same of a batch of so many messages."""
        if not letter_count or partition_index in self.overrides:
            return True
        latest = self._latest.get(partition_index, [])
        letters = letter_count + sum(latest)
        return (
            letters < LETTERS_COUNT_MIN
            or letters <= (message_count + len(latest)) * LETTERS_SHARE_MAX
        )

    def note(self, partition_index: int, messages: Sequence[Message]) -> None:
        """A batch is in the books, its letters set aside."""
        are_letters = [is_letter(message) for message in messages]
        if partition_index not in self._latest and not any(are_letters):
            return
        latest = [*self._latest.get(partition_index, ()), *are_letters][-WINDOW_MESSAGES:]
        if any(latest):
            self._latest[partition_index] = latest
        else:
            # It may never have been there: a letter early in a large batch is past the window at once.
            self._latest.pop(partition_index, None)

    def pause(self, partition_index: int) -> None:
        """Take nothing in for PAUSE_S."""
        if partition_index not in self._paused_until_s:
            _log.error(
                "intake_paused",
                partition=partition_index,
                reason="most messages can't be taken in",
                pause_s=PAUSE_S,
            )
        self._paused_until_s[partition_index] = self._clock.monotonic_s() + PAUSE_S

    def resume_due(self) -> frozenset[int]:
        """End the pauses whose time is over, or that an operator overrides. Returns whose they were."""
        now_s = self._clock.monotonic_s()
        due = frozenset(
            index
            for index, until_s in self._paused_until_s.items()
            if until_s <= now_s or index in self.overrides
        )
        for partition_index in due:
            del self._paused_until_s[partition_index]
        return due

    def forget(self, partition_index: int) -> None:
        """The partition is somebody else's now."""
        self._latest.pop(partition_index, None)
        self._paused_until_s.pop(partition_index, None)
