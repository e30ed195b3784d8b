"""One edge: its mode, and the connections that obey it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import cast

from loadtest.chaos.proxy.modes import PASS, EdgeState, Mode, ModeName

# One read; at the least bandwidth that is asked for, a second's worth.
CHUNK_BYTES_MAX = 64 * 1024

# SO_LINGER with no time: the kernel answers with a reset instead of a good end.
_RESETS = struct.pack("ii", 1, 0)

# The first byte of the kernel's tcp_info is the connection's state.
_ESTABLISHED = 1
# A connection that is dead for its client costs a look so often.
_LOOK_EVERY_S = 0.2


class Edge:
    """All connections from one kind of client to one server."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mode = PASS
        # Replaced at each change, so that whoever waits under the old mode wakes up.
        self.changed = asyncio.Event()
        self.links: set[Link] = set()
        self.made_count = 0
        self.hurt_count = 0
        self.bytes_forwarded = 0

    def set_mode(self, mode: Mode) -> None:
        """From now on connections, open and new, behave like this."""
        self.mode = mode
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()
        for link in list(self.links):
            link.obey(mode)

    def state(self) -> EdgeState:
        return EdgeState(
            edge=self.name,
            mode=self.mode,
            open_count=len(self.links),
            made_count=self.made_count,
            hurt_count=self.hurt_count,
            bytes_forwarded=self.bytes_forwarded,
        )


class Link:
    """One client's connection and, unless the edge forbids it, the one to the server that serves it."""

    def __init__(
        self, edge: Edge, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._edge = edge
        self._reader = reader
        self._writer = writer
        self._server: asyncio.StreamWriter | None = None
        self._is_dead = False
        self._reply_bytes_left: int | None = None
        self._ended = asyncio.Event()
        edge.links.add(self)
        edge.made_count += 1

    def move(self, edge: Edge) -> None:
        """Belong to another edge from now on: who connected is known only now."""
        if self._ended.is_set():
            return
        self._edge.links.discard(self)
        self._edge.made_count -= 1
        self._edge = edge
        edge.links.add(self)
        edge.made_count += 1
        if edge.mode != PASS:
            self.obey(edge.mode)

    async def run(self, port: int) -> None:
        """Forward until either side ends, or the edge's mode ends it."""
        self.obey(self._edge.mode)
        try:
            if not self._ended.is_set():
                await self._forward(port)
        finally:
            self._edge.links.discard(self)
            self._close()

    def obey(self, mode: Mode) -> None:
        """Take the immediate effect of a mode; the rest follows as bytes come."""
        self._reply_bytes_left = mode.value if mode.name is ModeName.CUT else None
        if mode.name is ModeName.RESET:
            self._reset()
        elif mode.name is ModeName.HALF_OPEN and not self._is_dead:
            # The server sees its client vanish; the client sees nothing, now or later.
            self._is_dead = True
            self._edge.hurt_count += 1
            if self._server is not None:
                self._server.transport.abort()

    async def _forward(self, port: int) -> None:
        if self._is_dead:
            await self._linger()
            return
        try:
            server_reader, self._server = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return  # the server is away: its clients see that
        pumps = [
            asyncio.create_task(self._pump(self._reader, self._server, is_reply=False)),
            asyncio.create_task(self._pump(server_reader, self._writer, is_reply=True)),
        ]
        ending = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait([*pumps, ending], return_when=asyncio.FIRST_COMPLETED)
            if self._is_dead:
                await self._linger()
        finally:
            for task in (*pumps, ending):
                task.cancel()
            await asyncio.gather(*pumps, ending, return_exceptions=True)

    async def _linger(self) -> None:
        """Keep the dead connection open until the client gives it up; what it sends is not read."""
        transport = cast("asyncio.Transport", self._writer.transport)
        if transport.is_reading():
            transport.pause_reading()
        while not self._ended.is_set() and not _is_closed_by_peer(transport):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._ended.wait()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_reply: bool
    ) -> None:
        try:
            while not self._is_dead and (data := await reader.read(CHUNK_BYTES_MAX)):
                await self._hold(len(data))
                if self._is_dead or self._ended.is_set():
                    return
                if is_reply and (left := self._reply_bytes_left) is not None:
                    self._reply_bytes_left = left - len(data)
                    if len(data) > left:
                        await self._cut(data[:left])
                        return
                self._edge.bytes_forwarded += len(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            return

    async def _hold(self, byte_count: int) -> None:
        """Wait as long as the mode wants before a piece passes."""
        edge = self._edge
        while edge.mode.name is ModeName.STALL and not self._ended.is_set():
            await edge.changed.wait()
        wait_s = 0.0
        if edge.mode.name is ModeName.DELAY:
            wait_s = edge.mode.value / 1_000
        elif edge.mode.name is ModeName.BANDWIDTH:
            wait_s = byte_count / edge.mode.value
        if wait_s:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await edge.changed.wait()

    async def _cut(self, last: bytes) -> None:
        """Let the last bytes pass, then reset."""
        self._writer.write(last)
        await self._writer.drain()
        self._edge.bytes_forwarded += len(last)
        self._reset()

    def _reset(self) -> None:
        if self._ended.is_set():
            return
        self._edge.hurt_count += 1
        for writer in (self._writer, self._server):
            if writer is not None:
                sock = writer.get_extra_info("socket")
                if sock is not None and sock.fileno() >= 0:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
                writer.transport.abort()
        self._ended.set()

    def _close(self) -> None:
        self._ended.set()
        for writer in (self._writer, self._server):
            if writer is not None:
                writer.close()


def _is_closed_by_peer(transport: asyncio.Transport) -> bool:
    """Whether the client has hung up: nothing reads from it, so the kernel is asked."""
    sock = transport.get_extra_info("socket")
    if transport.is_closing() or sock is None or sock.fileno() < 0:
        return True
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    return bool(info[0] != _ESTABLISHED)
