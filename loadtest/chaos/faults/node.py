"""A whole node cut off, as by a pulled cable: a host in a network of its own, whose link goes down."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path

from loadtest.chaos.cells import HOST_KILLING_TEXT
from loadtest.chaos.failures import NotNow, NotPossible
from loadtest.chaos.faults.port import Detail, Scene
from ops.local.faults import ToolFailed
from ops.local.layout import STACK_ID_VARIABLE
from ops.local.process import run_tool
from ops.stack.config_file import CONFIG_FILE
from ops.stack.environment import python_environment
from ops.stack.services import python_module
from runtime.faults import StorageUnavailable
from storage.status import StatusQueries

HOST_NAME = "host-of-node"
# Where iproute2 keeps the namespaces that it makes.
NAMESPACES = Path("/run/netns")
# From the start of an interpreter to the first partitions, on a busy machine.
OWNING_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
_LOOK_EVERY_S = 0.1


class NodeDown:
    """One more host, in a network namespace of its own; once it owns partitions, the link goes down.

    The proxy listens in there too, on the ports that the configuration names, so the host is one like
    every other. With the link down its packets are dropped on both sides, and nobody is told: it goes on
    owning, as it thinks, and what it has still to write is written when the link is back.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._name = ""
        self._is_made = False
        self._host: Process | None = None

    async def begin(self) -> Detail:
        if os.geteuid() != 0:
            raise NotPossible("a network namespace takes root")
        if shutil.which("ip") is None:
            raise NotPossible("a network namespace takes iproute2's ip")
        if self._scene.stack.shape.is_ray_used:
            raise NotPossible("hosts run inside Ray, whose processes can't be moved")
        self._name = f"tally-{self._scene.stack.home.stack_id()[:8]}"
        try:
            await run_tool(["ip", "netns", "add", self._name])
            self._is_made = True
            await self._link("up")
        except ToolFailed as failed:
            raise NotPossible(f"no network namespace can be made here: {failed}") from failed
        await self._scene.stack.proxy.listen_in(NAMESPACES / self._name)
        self._host = await self._started()
        owned_count = await self._owning(OWNING_TIMEOUT_S)
        if not owned_count:
            raise NotNow(f"after {OWNING_TIMEOUT_S:.0f} s the node's host owned nothing")
        await self._link("down")
        return {"at_ns": time.monotonic_ns(), "name": HOST_NAME, "partitions": owned_count}

    async def heal(self) -> Detail:
        if not self._is_made:
            return {}
        stack = self._scene.stack
        try:
            await self._link("up")
            # It finds others' epochs, lets go, and takes part again: or it has given up by itself.
            owned_count = 0 if self._host is None else await self._owning(OWNING_TIMEOUT_S)
            code = None if self._host is None else self._host.returncode
        finally:
            await self._stop_host()
            await stack.proxy.listen_in(None)
            await run_tool(["ip", "netns", "delete", self._name])
            self._is_made = False
        return {"is_back": bool(owned_count), "partitions_again": owned_count, "ended_with": code}

    async def _link(self, state: str) -> None:
        await run_tool(["ip", "-n", self._name, "link", "set", "lo", state])

    async def _started(self) -> Process:
        stack = self._scene.stack
        module = ("actors", "host", "--config", str(stack.root / CONFIG_FILE), "--name", HOST_NAME)
        environment = {
            **python_environment(stack.shape.environment),
            "TALLY_CRASH_ON": HOST_KILLING_TEXT,
            STACK_ID_VARIABLE: stack.home.stack_id(),
        }
        with stack.home.log_path(HOST_NAME).open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *("ip", "netns", "exec", self._name, *python_module(*module)),
                env=environment,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def _owning(self, timeout_s: float) -> int:
        """Wait until the node's host owns partitions; return how many, 0 when it never did."""
        queries = StatusQueries(self._scene.stack.pool)
        began_s = time.monotonic()
        while time.monotonic() - began_s < timeout_s:
            if self._host is None or self._host.returncode is not None:
                return 0
            try:
                hosts = await queries.hosts()
            except StorageUnavailable:
                hosts = []
            owned = [len(host.partition_indexes) for host in hosts if host.pid == self._host.pid]
            if any(owned):
                return sum(owned)
            await asyncio.sleep(_LOOK_EVERY_S)
        return 0

    async def _stop_host(self) -> None:
        host, self._host = self._host, None
        if host is None or host.returncode is not None:
            return
        host.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await host.wait()
        except TimeoutError:
            host.kill()
            await host.wait()
