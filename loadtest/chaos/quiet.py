"""Waiting until nothing is under way any more, and what the queue then holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from loadtest.chaos.recording import QUEUE_FILE, write_json
from loadtest.chaos.sampling import Sample, Sampler
from loadtest.chaos.stack import ChaosStack
from ops.local.resp import Reply, RespError
from storage.queue_keys import stream_key

# The first query of an unknown outcome comes after 5 s, the second after 30 more.
QUIET_TIMEOUT_S = 120.0
# Two looks in a row: between the stream and the books an order is in neither for no time at all.
_LOOKS = 3
_LOOK_EVERY_S = 0.25
_TELL_EVERY_S = 10.0

LEFT_MAX = 100
"""So many messages of each stream are listed; all are counted."""


async def wait_quiet(
    stack: ChaosStack,
    sampler: Sampler,
    progress: Callable[[str], None],
    timeout_s: float = QUIET_TIMEOUT_S,
) -> str | None:
    """Wait until no order is open and every stream is empty; None, or what is left after so long."""
    began_s = time.monotonic()
    told_s = began_s
    quiet_looks, left = 0, "nothing was seen yet"
    while time.monotonic() - began_s < timeout_s:
        sample = await sampler.look()
        left = _left(sample, await message_counts(stack))
        quiet_looks = 0 if left else quiet_looks + 1
        if quiet_looks >= _LOOKS:
            return None
        if time.monotonic() - told_s >= _TELL_EVERY_S:
            told_s = time.monotonic()
            progress(f"waiting until nothing is under way: {left}")
        await asyncio.sleep(_LOOK_EVERY_S)
    return left


def _left(sample: Sample | None, counts: Sequence[int] | None) -> str:
    if sample is None:
        return "the books do not answer"
    if counts is None:
        return "the queue does not answer"
    parts = []
    if sample.open:
        parts.append(f"{sample.open} orders are open, {sample.unknown} of them unknown")
    if sum(counts):
        parts.append(f"{sum(counts)} messages are in the streams")
    return "; ".join(parts)


async def message_counts(stack: ChaosStack) -> list[int] | None:
    """How many messages each partition's stream holds; None when the primary does not answer."""
    partition_count = stack.state().partition_count
    try:
        replies = await stack.ask_redis(
            *(("XLEN", stream_key(index)) for index in range(partition_count))
        )
    except RespError:
        return None
    return [int(str(reply)) for reply in replies]


# Ids and readable order ids alone: payloads are no text.
_LEFT_SCRIPT = """
local left = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])) do
    local order = ''
    for index = 1, #entry[2], 2 do
        if entry[2][index] == 'k' and string.match(entry[2][index + 1], '^[%x-]+$') then
            order = entry[2][index + 1]
        end
    end
    table.insert(left, entry[1])
    table.insert(left, order)
end
return left
"""


async def dump_queue(stack: ChaosStack, directory: Path) -> None:
    """Write what the queue's primary holds after quiescence. Raises RespError."""
    document: list[dict[str, Any]] = []
    for index in range(stack.state().partition_count):
        stream = stream_key(index)
        length, left = await stack.ask_redis(
            ("XLEN", stream),
            ("EVAL", _LEFT_SCRIPT, "1", stream, str(LEFT_MAX)),
        )
        added = await _entries_added(stack, stream) if await _exists(stack, stream) else None
        document.append(
            {
                "partition_index": index,
                "message_count": length,
                "entries_added": added,
                "left": _pairs(left),
            }
        )
    (size,) = await stack.ask_redis(("DBSIZE",))
    streams = sum(bool(row["entries_added"] is not None) for row in document)
    records = int(str(size)) - streams
    write_json(directory / QUEUE_FILE, {"streams": document, "key_record_count": records})


async def _exists(stack: ChaosStack, stream: bytes) -> bool:
    (reply,) = await stack.ask_redis(("EXISTS", stream))
    return reply == 1


async def _entries_added(stack: ChaosStack, stream: bytes) -> int | None:
    (reply,) = await stack.ask_redis(
        (
            "EVAL",
            "local info = redis.call('XINFO', 'STREAM', KEYS[1])\n"
            "for index = 1, #info, 2 do\n"
            "  if info[index] == 'entries-added' then return info[index + 1] end\n"
            "end",
            "1",
            stream,
        )
    )
    return None if reply is None else int(str(reply))


def _pairs(reply: Reply) -> list[dict[str, str]]:
    words = [str(word) for word in reply] if isinstance(reply, list) else []
    return [
        {"stream_id": stream_id, "order_uuid": order}
        for stream_id, order in zip(words[::2], words[1::2], strict=True)
    ]
