"""Mutants of adapters, for the simulated stores and PSPs that stand in their place.

A mutant of ``loadtest.mutants`` that changes SQL, Lua or a driver changes nothing here, since the
simulation begins at the ports. Those whose defect can be told at the port have a counterpart of the
same name; what their own form does is shown on real servers alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from loadtest.mutants import apply
from loadtest.mutants.at_the_owner import key_apart
from loadtest.mutants.patching import replace_attribute
from payments.attempts import PspAnswer, ResultClass
from storage.ports import Flush, FlushReceipt
from storage.queue_ports import AppendBatch, AppendResult, Message, QueueEntry
from tests.fakes import fake_queue
from tests.fakes.fake_books import FakeBooks
from tests.fakes.fake_queue_server import FakeCopy, FakeQueueServer, StreamId, parsed_id
from tests.simulation import sim_redis
from tests.simulation.flush_mutants import FLUSH_COUNTERPARTS
from tests.simulation.sim_ledger import SimLane
from tests.simulation.sim_postgres import SimPostgres
from tests.simulation.sim_psp import SimPsp
from tests.simulation.sim_queue import SimGatewayQueue, SimOwnerQueue
from tests.simulation.sim_redis import SimRedis

# As in the original: so late come the events that an outbox in memory would gather.
_EVENTS_LATE_S = 0.1
_STREAM_LENGTH_MAX = 2


def put_in(name: str) -> None:
    """Put a mutant into this process: the counterpart where there is one, else the original."""
    counterpart = COUNTERPARTS.get(name)
    if counterpart is None:
        apply(name)
    else:
        counterpart()


def _ack_before_wait() -> None:
    async def wait_durable(_self: object, _batch: AppendBatch, *, timeout_ms: int) -> bool:
        return timeout_ms >= 0

    replace_attribute(SimGatewayQueue, "wait_durable", wait_durable)


def _wait_count_unchecked() -> None:
    wait = vars(SimGatewayQueue)["_wait"]

    async def wait_for_any_count(queue: object, generation: int, timeout_s: float) -> bool:
        await wait(queue, generation, timeout_s)
        return True

    replace_attribute(SimGatewayQueue, "_wait", wait_for_any_count)


def _duplicate_does_not_write() -> None:
    append, touch = fake_queue.append_entry, fake_queue.touch

    def append_reading(server: FakeQueueServer, entry: QueueEntry) -> AppendResult:
        # Only here: what looks a record up goes on writing.
        replace_attribute(fake_queue, "touch", lambda *_given: None)
        try:
            return append(server, entry)
        finally:
            replace_attribute(fake_queue, "touch", touch)

    replace_attribute(sim_redis, "append_entry", append_reading)


def _second_body_wins() -> None:
    append = fake_queue.append_entry

    def append_last(server: FakeQueueServer, entry: QueueEntry) -> AppendResult:
        index, copy = entry.partition_index, server.copy
        known = copy.records.get((index, entry.order_uuid))
        result = append(server, entry)
        if known is None or known.fingerprint == entry.fingerprint:
            return result
        stream_id = known.stream_id
        if stream_id in copy.streams[index]:
            new_id = server.next_id(index)
            server.write(lambda each: _put_last(each, entry, stream_id, new_id))
        return result

    replace_attribute(sim_redis, "append_entry", append_last)


def _put_last(copy: FakeCopy, entry: QueueEntry, old_id: StreamId, new_id: StreamId) -> None:
    index = entry.partition_index
    del copy.streams[index][old_id]
    copy.streams[index][new_id] = entry.fields
    copy.last_ids[index] = copy.records[index, entry.order_uuid].stream_id = new_id


def _stream_trimmed_by_length() -> None:
    append = fake_queue.append_entry

    def append_trimming(server: FakeQueueServer, entry: QueueEntry) -> AppendResult:
        result = append(server, entry)
        server.write(lambda copy: _trim(copy.streams[entry.partition_index], _STREAM_LENGTH_MAX))
        return result

    replace_attribute(sim_redis, "append_entry", append_trimming)


def _trim(stream: dict[StreamId, Any], length_max: int) -> None:
    for stream_id in sorted(stream)[:-length_max]:
        del stream[stream_id]


def _removed_up_to_the_last_read() -> None:
    remove = SimOwnerQueue.remove

    async def remove_all_read(queue: SimOwnerQueue, messages: Sequence[Message]) -> int:
        removed_count = await remove(queue, messages)
        redis: SimRedis = vars(queue)["_redis"]
        for index in {message.partition_index for message in messages}:
            upto = vars(queue)["_cursors"].get(index, (0, 0))
            redis.write(lambda copy, index=index, upto=upto: _forget(copy, index, upto))  # type: ignore[misc]
        return removed_count

    replace_attribute(SimOwnerQueue, "remove", remove_all_read)


def _forget(copy: FakeCopy, index: int, upto: StreamId) -> None:
    for stream_id in [each for each in copy.streams[index] if each <= upto]:
        del copy.streams[index][stream_id]


def _cursor_stored() -> None:
    read = SimOwnerQueue.read

    async def read_on(
        queue: SimOwnerQueue, *, count_max: int, wait_ms_max: int
    ) -> Sequence[Message]:
        stored: dict[int, StreamId] = vars(vars(queue)["_redis"]).setdefault("stored_cursors", {})
        cursors: dict[int, StreamId] = vars(queue)["_cursors"]
        cursors.update({i: stored[i] for i, at in cursors.items() if at == (0, 0) and i in stored})
        messages = await read(queue, count_max=count_max, wait_ms_max=wait_ms_max)
        stored.update({each.partition_index: parsed_id(each.stream_id) for each in messages})
        return messages

    replace_attribute(SimOwnerQueue, "read", read_on)


def _epoch_kept_at_takeover() -> None:
    take_over = FakeBooks.take_over

    def take_over_within(
        books: FakeBooks, index: int, owner: Any, *given: Any, **more: Any
    ) -> None:
        held = books.partitions[index]
        is_kept = held.owner not in (None, owner)
        take_over(books, index, owner, *given, **more)
        if is_kept:
            held.head = held.head._replace(epoch=held.head.epoch - 1)

    replace_attribute(FakeBooks, "take_over", take_over_within)


def _read_before_marker() -> None:
    async def run_marker(_postgres: SimPostgres) -> None:
        """Nothing is waited for."""

    replace_attribute(SimPostgres, "run_marker", run_marker)


def _last_event_after_commit() -> None:
    append = SimLane.append

    async def publish(lane: SimLane, flush: Flush) -> None:
        await asyncio.sleep(_EVENTS_LATE_S)
        postgres: SimPostgres = vars(lane)["_postgres"]
        postgres.books.events.update({row[:3]: row for row in flush.events})

    async def append_then_publish(lane: SimLane, flush: Flush) -> FlushReceipt:
        ended = {row[:2] for row in flush.outcomes}
        late = Flush(events=[row for row in flush.events if row[:2] in ended])
        flush.events[:] = [row for row in flush.events if row[:2] not in ended]
        receipt = await append(lane, flush)
        asyncio.create_task(publish(lane, late))  # noqa: RUF006
        return receipt

    replace_attribute(SimLane, "append", append_then_publish)


def _unknown_is_declined() -> None:
    ask = vars(SimPsp)["_ask"]

    async def ask_once(psp: SimPsp, handler: Any, timeout_s: float) -> PspAnswer:
        answer: PspAnswer = await ask(psp, handler, timeout_s)
        if answer.result is not ResultClass.UNKNOWN:
            return answer
        return PspAnswer(result=ResultClass.DECLINED_FINAL, decline_code="no_answer")

    replace_attribute(SimPsp, "_ask", ask_once)


def _not_found_is_proof() -> None:
    query = SimPsp.query

    async def query_trusting(psp: SimPsp, **asked: Any) -> PspAnswer:
        answer = await query(psp, **asked)
        is_denied = answer.result is ResultClass.UNKNOWN and "404" in answer.message
        return PspAnswer(result=ResultClass.CANCELED) if is_denied else answer

    replace_attribute(SimPsp, "query", query_trusting)


def _time_out_under_a_new_key() -> None:
    charge = SimPsp.charge

    async def charge_twice(psp: SimPsp, key: str, request: bytes, **told: Any) -> PspAnswer:
        answer = await charge(psp, key, request, **told)
        if answer.result is not ResultClass.UNKNOWN:
            return answer
        return await charge(psp, key_apart(key), request, **told)

    replace_attribute(SimPsp, "charge", charge_twice)


COUNTERPARTS: Mapping[str, Callable[[], None]] = {
    **FLUSH_COUNTERPARTS,
    "ack_before_wait": _ack_before_wait,
    "wait_count_unchecked": _wait_count_unchecked,
    "duplicate_does_not_write": _duplicate_does_not_write,
    "second_body_wins": _second_body_wins,
    "stream_trimmed_by_length": _stream_trimmed_by_length,
    "removed_up_to_the_last_read": _removed_up_to_the_last_read,
    "cursor_stored": _cursor_stored,
    "epoch_kept_at_takeover": _epoch_kept_at_takeover,
    "read_before_marker": _read_before_marker,
    "last_event_after_commit": _last_event_after_commit,
    "unknown_is_declined": _unknown_is_declined,
    "not_found_is_proof": _not_found_is_proof,
    "time_out_under_a_new_key": _time_out_under_a_new_key,
}
