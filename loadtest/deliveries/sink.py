"""A receiver of webhooks that costs little: it counts, and answers 200.

``python -m loadtest.deliveries.sink`` prints its port as one line of JSON. Each path is an endpoint. With
``?wait_ms=N`` in its URL an endpoint answers late, with ``?status=N`` otherwise. ``GET /_told`` tells what came,
``GET /_ids`` under which ids. It ends with whoever started it, when its stdin does.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
import sys
import time
from collections import defaultdict
from typing import cast

import uvloop

BACKLOG = 1_024
# A webhook's head and body stay far below; more is somebody else's.
BYTES_MAX = 1024 * 1024

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_ID = re.compile(rb"\r\nwebhook-id: *([!-~]+)", re.IGNORECASE)
_WAIT = re.compile(rb"[?&]wait_ms=([0-9]+)")
_STATUS = re.compile(rb"[?&]status=([0-9]{3})")


class Told:
    """What came, by path."""

    def __init__(self) -> None:
        self.counts: defaultdict[str, int] = defaultdict(int)
        self.ids: defaultdict[str, set[bytes]] = defaultdict(set)
        self.last_s = 0.0

    def note(self, path: bytes, webhook_id: bytes) -> None:
        name = path.partition(b"?")[0].decode()
        self.counts[name] += 1
        self.ids[name].add(webhook_id)
        self.last_s = time.monotonic()

    def document(self) -> bytes:
        """What ``GET /_told`` answers. Seconds are those of the machine's monotonic clock."""
        distinct = {name: len(ids) for name, ids in self.ids.items()}
        told = {"counts": self.counts, "distinct": distinct, "last_s": self.last_s}
        return json.dumps(told).encode()

    def all_ids(self) -> bytes:
        """What ``GET /_ids`` answers: every webhook's id, by path."""
        return json.dumps(
            {name: sorted(map(bytes.decode, ids)) for name, ids in self.ids.items()}
        ).encode()


class SinkProtocol(asyncio.Protocol):
    """One connection: requests one after the other."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._bytes = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        while (end := self._bytes.find(b"\r\n\r\n")) >= 0:
            head = self._bytes[: end + 2]
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._bytes) < whole:
                break
            self._bytes = self._bytes[whole:]
            self._answer(head)
        if len(self._bytes) > BYTES_MAX and self._transport is not None:
            self._transport.abort()

    def _answer(self, head: bytes) -> None:
        path = head.split(b" ", 2)[1]
        if path in (b"/_told", b"/_ids"):
            told = self._told
            self._write(200, told.document() if path == b"/_told" else told.all_ids())
            return
        found = _ID.search(head)
        self._told.note(path, found[1] if found else b"")
        status, wait = _STATUS.search(path), _WAIT.search(path)
        code = int(status[1]) if status else 200
        if wait:
            asyncio.get_running_loop().call_later(int(wait[1]) / 1_000, self._write, code, b"")
        else:
            self._write(code, b"")

    def _write(self, status: int, body: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(
                b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
            )


async def serve() -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        loop.add_reader(0, stop.set)
    told = Told()
    server = await loop.create_server(lambda: SinkProtocol(told), "127.0.0.1", 0, backlog=BACKLOG)
    sys.stdout.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    await stop.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
