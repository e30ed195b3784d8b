"""Defects between gateway and owner: what is appended, read and removed at the wrong moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loadtest.mutants.patching import Mutant, change_script, replace_attribute

if TYPE_CHECKING:
    from actors.reading import StreamReader
    from storage.queue_owner import RedisOwnerQueue
    from storage.queue_ports import Message, OwnerQueue

_APPEND_NEW = "call('XADD', KEYS[2 * entry - 1], '*',"
_APPEND_NEW_BOUNDED = "call('XADD', KEYS[2 * entry - 1], 'MAXLEN', '2', '*',"
_COUNT_DUPLICATE = "    call('HINCRBY', record, 'n', 1)\n"
_READ_STORED = "    local stored = call('HMGET', record, 'f', 't', 'i')\n"
_LAST_BODY_WINS = """\
    if stored[1] ~= ARGV[first + 1] and call('XDEL', KEYS[2 * entry - 1], stored[3]) == 1 then
      stored[3] = call('XADD', KEYS[2 * entry - 1], '*',
        unpack(ARGV, first + ENTRY_ITEMS + 1, offsets[entry + 1]))
      call('HSET', record, 'i', stored[3])
    end
"""


class _RemovingReader:
    """A queue that takes what was read for taken in."""

    def __init__(self, queue: OwnerQueue) -> None:
        self._queue = queue

    async def read(self, *, count_max: int, wait_ms_max: int) -> Sequence[Message]:
        messages = await self._queue.read(count_max=count_max, wait_ms_max=wait_ms_max)
        await self._queue.remove(messages)
        return messages

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


def _duplicate_does_not_write() -> None:
    change_script("append", (_COUNT_DUPLICATE, ""))


def _second_body_wins() -> None:
    change_script("append", (_READ_STORED, _READ_STORED + _LAST_BODY_WINS))


def _stream_trimmed_by_length() -> None:
    change_script("append", (_APPEND_NEW, _APPEND_NEW_BOUNDED))


def _removed_before_commit() -> None:
    from actors.reading import StreamReader

    build = StreamReader.__init__

    def build_on_removing(reader: StreamReader, queue: OwnerQueue, **rest: Any) -> None:
        build(reader, _RemovingReader(queue), **rest)

    replace_attribute(StreamReader, "__init__", build_on_removing)


def _removed_up_to_the_last_read() -> None:
    from storage.queue_keys import stream_key
    from storage.queue_owner import RedisOwnerQueue

    remove = vars(RedisOwnerQueue)["_remove_fresh"]

    async def remove_all_read(
        queue: RedisOwnerQueue, messages: Sequence[Message], session: Any
    ) -> int:
        removed_count: int = await remove(queue, messages, session)
        members = vars(queue)
        indexes = {message.partition_index for message in messages} & members["_cursors"].keys()
        for index in sorted(indexes):
            milliseconds, _, sequence = members["_cursors"][index].partition(b"-")
            beyond = b"%b-%d" % (milliseconds, int(sequence) + 1)
            await exchange(queue, session, ((b"XTRIM", stream_key(index), b"MINID", beyond),))
        return removed_count

    exchange = vars(RedisOwnerQueue)["_exchange"]
    replace_attribute(RedisOwnerQueue, "_remove_fresh", remove_all_read)


def _cursor_stored() -> None:
    from storage.queue_keys import stream_key
    from storage.queue_owner import CURSOR_START, RedisOwnerQueue

    read = RedisOwnerQueue.read
    exchange = vars(RedisOwnerQueue)["_exchange"]
    session_of = vars(RedisOwnerQueue)["_current_session"]

    def key_of(index: int) -> bytes:
        return stream_key(index) + b":read"

    async def read_on(
        queue: RedisOwnerQueue, *, count_max: int, wait_ms_max: int
    ) -> Sequence[Message]:
        members = vars(queue)
        async with members["_connection"].turn:
            session = await session_of(queue)
            new = [index for index, at in members["_cursors"].items() if at == CURSOR_START]
            commands = [(b"GET", key_of(index)) for index in new]
            stored = await exchange(queue, session, commands) if commands else ()
            members["_cursors"].update(
                {index: at for index, at in zip(new, stored, strict=True) if at is not None}
            )
        messages = await read(queue, count_max=count_max, wait_ms_max=wait_ms_max)
        if messages:
            async with members["_connection"].turn:
                session = await session_of(queue)
                last = {message.partition_index: message.stream_id for message in messages}
                await exchange(
                    queue, session, [(b"SET", key_of(index), at) for index, at in last.items()]
                )
        return messages

    replace_attribute(RedisOwnerQueue, "read", read_on)


IN_THE_QUEUE = (
    Mutant(
        name="duplicate_does_not_write",
        defect="the append script only reads for a duplicate, so its WAIT proves nothing",
        breaks=("I1", "I28"),
        mix="freeze",
        cells=("freeze/redis_replica/under_load",),
        put_in=_duplicate_does_not_write,
    ),
    Mutant(
        name="second_body_wins",
        defect="another request under the key of a waiting order is refused, and its amount is charged",
        breaks=("I1", "I3", "I13"),
        mix="kill",
        cells=("kill/host/under_load",),
        put_in=_second_body_wins,
    ),
    Mutant(
        name="stream_trimmed_by_length",
        defect="streams are kept short by trimming what is oldest, read or not",
        breaks=("I1", "I22"),
        mix="kill",
        cells=("kill/host/under_load",),
        put_in=_stream_trimmed_by_length,
    ),
    Mutant(
        name="removed_before_commit",
        defect="messages are removed when they are read, before their intake is committed",
        breaks=("I1", "I22"),
        mix="kill",
        cells=("kill/host/before_intake_commit",),
        put_in=_removed_before_commit,
    ),
    Mutant(
        name="removed_up_to_the_last_read",
        defect="a removal deletes everything up to the last message read, taken in or not",
        breaks=("I1", "I22"),
        mix="kill",
        cells=("kill/host/before_intake_commit",),
        put_in=_removed_up_to_the_last_read,
    ),
    Mutant(
        name="cursor_stored",
        defect="a new owner reads on from where the one before stopped reading",
        breaks=("I1", "I22", "I26"),
        mix="kill",
        cells=("kill/host/before_intake_commit",),
        put_in=_cursor_stored,
    ),
)
