"""``python -m loadtest.chaos.proxy``: one job as a line of JSON on stdin; runs until stdin ends, or SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import msgspec
import uvloop

from loadtest.chaos.proxy.modes import ProxyJob
from loadtest.chaos.proxy.serving import serve


async def _run(job: ProxyJob) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    # Whoever started this holds the other end: however that process ends, so does this one.
    owner = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(owner), sys.stdin)
    watching = asyncio.create_task(_until_end(owner, stop))
    await serve(job, stop)
    watching.cancel()


async def _until_end(owner: asyncio.StreamReader, stop: asyncio.Event) -> None:
    await owner.read()
    stop.set()


def main() -> None:
    """Do one job."""
    # Unbuffered: what follows the line belongs to the pipe that is watched.
    line = b""
    while (byte := os.read(sys.stdin.fileno(), 1)) not in (b"\n", b""):
        line += byte
    uvloop.run(_run(msgspec.json.decode(line, type=ProxyJob)))


if __name__ == "__main__":
    main()
