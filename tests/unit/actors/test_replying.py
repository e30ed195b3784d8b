"""Replies: one message a gateway and batch, dropped rather than waited for."""

from __future__ import annotations

import asyncio
from uuid import UUID

from actors.replying import REPLIES_WAITING_MAX, Replier, Reply
from storage.replies import decode_reply
from tests.fakes.fake_queue import FakeOwnerQueue, FakeQueueServer
from tests.manual_clock import ManualClock


def a_reply(number: int, *, to: str = "reply:a", is_settled: bool = False) -> Reply:
    return Reply(reply_to=to, order_uuid=UUID(int=number), is_settled=is_settled)


async def published(server: FakeQueueServer, replier: Replier) -> None:
    run = asyncio.create_task(replier.run())
    for _ in range(5):
        await asyncio.sleep(0)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


async def test_a_batch_is_one_message_a_gateway() -> None:
    """Each gateway hears of its own orders, taken in and settled apart."""
    server = FakeQueueServer(ManualClock())
    replier = Replier(FakeOwnerQueue(server))
    replier.add([a_reply(1), a_reply(2, is_settled=True), a_reply(3, to="reply:b")])
    replier.add([a_reply(4)])
    await published(server, replier)
    assert [to for to, _ in server.published] == ["reply:a", "reply:b"]
    reply = decode_reply(server.published[0][1])
    assert list(reply.taken_in) == [UUID(int=1), UUID(int=4)]
    assert list(reply.settled) == [UUID(int=2)]


async def test_replies_are_dropped_when_they_can_not_be_sent() -> None:
    """Nobody depends on a reply, so an absent queue costs no memory and no wait."""
    server = FakeQueueServer(ManualClock())
    replier = Replier(FakeOwnerQueue(server))
    replier.add([a_reply(1)] * (REPLIES_WAITING_MAX + 5))
    assert replier.dropped_count == 5
    server.is_reachable = False
    await published(server, replier)
    assert replier.dropped_count == REPLIES_WAITING_MAX + 5
