"""Ways between processes that fail: through the proxy, and between the two copies of a store."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Mapping
from pathlib import Path

from loadtest.chaos.failures import NotNow, NotPossible
from loadtest.chaos.faults.port import Detail, Scene
from loadtest.chaos.proc import descendants, send
from loadtest.chaos.proxy.modes import Mode, ModeName, edge_name
from ops.local.faults import ToolFailed
from ops.local.resp import RespError

# From nothing at all to the middle of a reply's first lines.
CUT_BYTES_MAX = 400

_RESET_EVERY_S = 0.2

_TERMINATE_SENDERS_SQL = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication
 WHERE application_name <> 'base_backup';
"""


class EdgeFails:
    """Every connection from one kind of client to one store or server, all copies of it."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._edges: list[str] = []
        self._hurt_before: Mapping[str, int] = {}

    async def begin(self) -> Detail:
        scene = self._scene
        client, _, target = scene.cell.target.partition("->")
        servers = [
            route.server
            for route in scene.stack.routing.routes
            if route.server == target or route.server.startswith(f"{target}_")
        ]
        if not servers:
            raise NotPossible(f"this stack runs no {target}")
        mode = drawn_mode(ModeName(scene.cell.step), scene.draw)
        self._edges = [edge_name(client, server) for server in servers]
        before = {edge.edge: edge.hurt_count for edge in await scene.stack.proxy.edges()}
        self._hurt_before = before
        open_count = 0
        for edge in self._edges:
            open_count += (await scene.stack.proxy.set_mode(edge, mode)).open_count
        return {"edges": self._edges, "value": mode.value, "open_connections": open_count}

    async def heal(self) -> Detail:
        hurt_count = 0
        for edge in self._edges:
            state = await self._scene.stack.proxy.set_mode(edge, Mode())
            hurt_count += state.hurt_count - self._hurt_before.get(edge, 0)
        return {"hurt_connections": hurt_count}


def drawn_mode(name: ModeName, draw: random.Random) -> Mode:
    """A mode with a number in the range that hurts and does not merely end everything."""
    values = {
        ModeName.DELAY: (50, 400),
        ModeName.CUT: (0, CUT_BYTES_MAX),
        ModeName.BANDWIDTH: (20_000, 100_000),
    }
    low, high = values.get(name, (0, 0))
    return Mode(name=name, value=draw.randint(low, high))


class ReplicationFails:
    """The connection between primary and copy, which leads past the proxy: reset, or stalled."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._resetting: asyncio.Task[None] | None = None
        self._reset_count = 0
        self._stalled: list[int] = []

    async def begin(self) -> Detail:
        scene = self._scene
        if scene.cell.step == "stall":
            self._stalled = self._wal_receivers()
            if not self._stalled:
                raise NotNow("no process receives WAL")
            for pid in self._stalled:
                send(pid, signal.SIGSTOP)
            return {"receivers": len(self._stalled)}
        await self._reset()
        self._resetting = asyncio.create_task(self._keep_resetting())
        return {}

    async def heal(self) -> Detail:
        if self._resetting is not None:
            self._resetting.cancel()
            await asyncio.gather(self._resetting, return_exceptions=True)
        for pid in self._stalled:
            send(pid, signal.SIGCONT)
        return {"resets": self._reset_count}

    async def _keep_resetting(self) -> None:
        while True:
            await asyncio.sleep(_RESET_EVERY_S)
            await self._reset()

    async def _reset(self) -> None:
        stack = self._scene.stack
        try:
            if self._scene.cell.target.startswith("redis"):
                await stack.ask_redis(("CLIENT", "KILL", "TYPE", "replica"))
            else:
                await stack.stores.postgres.query(_TERMINATE_SENDERS_SQL, database="postgres")
        except (RespError, ToolFailed):
            return  # the primary is away just now, and its connections with it
        self._reset_count += 1

    def _wal_receivers(self) -> list[int]:
        standbys = self._scene.stack.records("postgres_standby")
        children = [pid for standby in standbys for pid in descendants(standby.pid)]
        return [pid for pid in children if "walreceiver" in _command(pid)]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
