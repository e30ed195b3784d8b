"""Replies to gateways: one message a batch and gateway, and none that anybody depends on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import structlog

from storage.ports import StorageUnavailable
from storage.queue_ports import OwnerQueue
from storage.replies import encode_reply

_log = structlog.get_logger(__name__)

# Replies that wait while the queue is away; beyond it they are dropped, and gateways read instead.
REPLIES_WAITING_MAX = 50_000


class Reply(NamedTuple):
    """What a gateway hears of an order: taken in, or settled."""

    reply_to: str
    order_uuid: UUID
    is_settled: bool


class Replier:
    """Publishes what the lanes report, on a connection of its own: the reader's may be blocked in a read."""

    def __init__(self, queue: OwnerQueue) -> None:
        self._queue = queue
        self._waiting: list[Reply] = []
        self._wake = asyncio.Event()
        self.dropped_count = 0

    def add(self, replies: Sequence[Reply]) -> None:
        """Queue replies for the next message."""
        room = REPLIES_WAITING_MAX - len(self._waiting)
        self._waiting.extend(replies[: max(0, room)])
        self.dropped_count += max(0, len(replies) - room)
        self._wake.set()

    async def run(self) -> None:
        """Publish until cancelled. What can't be published is dropped: the ledger has it."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            replies, self._waiting = self._waiting, []
            try:
                await self._publish(replies)
            except StorageUnavailable as unavailable:
                self.dropped_count += len(replies)
                _log.warning("replies_dropped", count=len(replies), reason=unavailable.reason)

    async def _publish(self, replies: Sequence[Reply]) -> None:
        by_gateway: dict[str, tuple[list[UUID], list[UUID]]] = {}
        for reply in replies:
            taken_in, settled = by_gateway.setdefault(reply.reply_to, ([], []))
            (settled if reply.is_settled else taken_in).append(reply.order_uuid)
        for reply_to, (taken_in, settled) in by_gateway.items():
            payload = encode_reply(taken_in=taken_in, settled=settled)
            await self._queue.publish(reply_to, payload)
