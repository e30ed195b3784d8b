"""The simulator's own log: append-only, fsynced before anything is answered. It is the oracle.

The file is a row of frames, one a group commit: a line ``#<bytes> <crc32>``, then that many bytes
of NDJSON, one record a line, so that people can read it with ``grep -v '^#'``. Only the last frame
can be torn, because the next one is written after the fsync of the one before.
"""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import msgspec

from psp.simulator.records import OpenRecord, Record
from psp.simulator.wire import UNREADABLE

LOG_NAME = "charges.ndjson"
LOG_VERSION = 1

FRAME_RECORDS_MAX = 4_096
"""Largest group commit, about 1.5 MB: one fsync still takes milliseconds, and a replay buffers
little.
"""

CROWDED_COUNT = 4
GROUP_SPACING_S = 0.002
"""What a crowd waits for company: a group costs a change of threads and an fsync, however small."""

GROUP_SPACINGS_MAX = 5
"""So often, while company keeps coming: 10 ms, of which a provider's answer takes tens."""

_HEADER = re.compile(rb"#([0-9]{1,10}) ([0-9a-f]{8})\n")


class LogUnusable(Exception):
    """The log can't be opened or written: taken, damaged, or begun with another seed."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class DurableLog:
    """Appends records in groups: while one group is fsynced in a thread, the next one gathers."""

    def __init__(self, path: Path, descriptor: int, on_durable: Callable[[Record], None]) -> None:
        self._path = path
        self._descriptor = descriptor
        self._on_durable = on_durable
        self._waiting: list[tuple[Record, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._is_closing = False
        self.writer = asyncio.get_running_loop().create_task(self._write_groups())
        """Ends only by ``close``, or with the fault that broke the log: then nothing more may be
        answered.
        """

    @classmethod
    def opened(
        cls, directory: Path, opening: OpenRecord, *, on_durable: Callable[[Record], None]
    ) -> DurableLog:
        """Lock, replay and open the log; ``on_durable`` gets every record, old and new, in order.

        A torn tail is cut off: nothing of it was ever answered. Raises LogUnusable for a damaged
        log, for one that another process writes, and for one that was begun with another seed.
        """
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / LOG_NAME
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(path, descriptor)
            found = _replay(path, descriptor, on_durable)
            if found is None:
                _write_all(descriptor, _frame([opening]))
                os.fsync(descriptor)
                _sync_directory(directory)
            elif (found.seed, found.v) != (opening.seed, opening.v):
                reason = f"was begun with seed {found.seed}, version {found.v}; now {opening.seed}"
                raise LogUnusable(path, reason)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor, on_durable)

    async def append(self, record: Record) -> None:
        """Return once the record is on disk and handed to ``on_durable``. Raises LogUnusable."""
        if self.writer.done() or self._is_closing:
            raise LogUnusable(self._path, "is closed")
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((record, written))
        self._wake.set()
        await written

    async def close(self) -> None:
        """Write what waits, then release the file. Safe to call twice."""
        self._is_closing = True
        self._wake.set()
        await asyncio.wait([self.writer])

    async def _wait_for_company(self, *, is_crowded: bool) -> None:
        """Let requests that came in with the first join its group: fewer, larger fsyncs.

        After a crowd more are on their way, as long as they keep coming; a lone request waits for nobody.
        """
        if not is_crowded:
            await asyncio.sleep(0)
            return
        for _ in range(GROUP_SPACINGS_MAX):
            count = len(self._waiting)
            await asyncio.sleep(GROUP_SPACING_S)
            if len(self._waiting) - count < CROWDED_COUNT:
                return

    async def _write_groups(self) -> None:
        loop = asyncio.get_running_loop()
        group: list[tuple[Record, asyncio.Future[None]]] = []
        try:
            while self._waiting or not self._is_closing:
                await self._wake.wait()
                await self._wait_for_company(is_crowded=len(group) >= CROWDED_COUNT)
                group = self._waiting[:FRAME_RECORDS_MAX]
                del self._waiting[:FRAME_RECORDS_MAX]
                if group:
                    frame = _frame([record for record, _ in group])
                    await loop.run_in_executor(None, _write_durably, self._descriptor, frame)
                for record, written in group:
                    self._on_durable(record)
                    if not written.done():
                        written.set_result(None)
                if not self._waiting and not self._is_closing:
                    self._wake.clear()
        except OSError as fault:
            unusable = LogUnusable(self._path, f"can't be written: {fault}")
            for _, written in [*group, *self._waiting]:
                if not written.done():
                    written.set_exception(unusable)
            raise unusable from fault
        finally:
            os.close(self._descriptor)


def _frame(records: list[Record]) -> bytes:
    payload = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
    return b"#%d %08x\n" % (len(payload), crc32(payload)) + payload


def _write_durably(descriptor: int, frame: bytes) -> None:
    _write_all(descriptor, frame)
    os.fdatasync(descriptor)


def _write_all(descriptor: int, frame: bytes) -> None:
    rest = memoryview(frame)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _lock(path: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as taken:
        raise LogUnusable(path, "is written by another process") from taken


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replay(path: Path, descriptor: int, on_record: Callable[[Record], None]) -> OpenRecord | None:
    """Hand every record over, cut a torn tail off, return the first record or None for an empty
    log.
    """
    size_bytes = os.fstat(descriptor).st_size
    if size_bytes == 0:
        return None
    opening: OpenRecord | None = None
    end = 0
    decoder = msgspec.json.Decoder(Record)
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as mapped:
        for payload, frame_end in _frames(mapped):
            for line in payload.splitlines():
                try:
                    record = decoder.decode(line)
                except UNREADABLE as unreadable:
                    reason = f"holds no record of this program after byte {end}"
                    raise LogUnusable(path, reason) from unreadable
                if opening is None and isinstance(record, OpenRecord):
                    opening = record
                on_record(record)
            end = frame_end
        if end < size_bytes and _has_frame_after(mapped, end):
            raise LogUnusable(path, f"is damaged at byte {end}: valid records follow")
    if end < size_bytes:
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)
    if end > 0 and opening is None:
        raise LogUnusable(path, "does not begin as a log of this program")
    return opening


def _frames(mapped: mmap.mmap) -> Iterator[tuple[bytes, int]]:
    """Yield each frame's payload and the offset of its end, up to the first broken one."""
    begin = 0
    while (whole := _frame_at(mapped, begin)) is not None:
        yield whole
        begin = whole[1]


def _frame_at(mapped: mmap.mmap, begin: int) -> tuple[bytes, int] | None:
    header = _HEADER.match(mapped, begin)
    if header is None:
        return None
    end = header.end() + int(header[1])
    payload = mapped[header.end() : end]
    is_whole = len(payload) == int(header[1]) and crc32(payload) == int(header[2], 16)
    return (payload, end) if is_whole else None


def _has_frame_after(mapped: mmap.mmap, begin: int) -> bool:
    """Whether a whole frame follows a broken one: then it isn't a torn tail, and cutting would lose
    charges.
    """
    at = mapped.find(b"#", begin + 1)
    while at != -1:
        if _frame_at(mapped, at) is not None:
            return True
        at = mapped.find(b"#", at + 1)
    return False
