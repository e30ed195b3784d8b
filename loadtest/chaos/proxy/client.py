"""Starting a proxy process, and ordering it about."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadtest.chaos.failures import ChaosFailed, NotPossible
from loadtest.chaos.proxy.modes import PASS, EdgeState, Mode, Order, OrderDone, ProxyJob, Route
from loadtest.chaos.proxy.sockets import short_path
from ops.local.logs import log_tail

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 5.0
_LOOK_EVERY_S = 0.05

_DONE = msgspec.json.Decoder(OrderDone)


class ProxyProcess:
    """A proxy that runs, and dies with whoever started it."""

    def __init__(self, process: asyncio.subprocess.Process, control_path: Path) -> None:
        self._process = process
        self._control_path = control_path
        self._turn = asyncio.Lock()

    @classmethod
    async def start(cls, routes: Sequence[Route], directory: Path, log_path: Path) -> ProxyProcess:
        """Start one with its socket in that directory. Raises ChaosFailed."""
        control_path = directory / "proxy.sock"
        with log_path.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "loadtest.chaos.proxy"),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        job = ProxyJob(control_path=str(control_path), routes=list(routes))
        assert process.stdin is not None
        # Stays open: the proxy ends when this end of the pipe is gone.
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + READY_TIMEOUT_S
        while not control_path.exists():
            if process.returncode is not None or loop.time() > deadline_s:
                raise ChaosFailed(f"the proxy did not start:\n{log_tail(log_path)}")
            await asyncio.sleep(_LOOK_EVERY_S)
        return cls(process, control_path)

    async def set_mode(self, edge: str, mode: Mode) -> EdgeState:
        """Change one edge and return it as it is then. Raises ChaosFailed."""
        return (await self._ask(Order(edge=edge, mode=mode)))[0]

    async def heal(self) -> None:
        """Let everything pass again."""
        for state in await self.edges():
            if state.mode != PASS:
                await self.set_mode(state.edge, PASS)

    async def edges(self) -> list[EdgeState]:
        """Every edge as it is now."""
        return await self._ask(Order())

    async def listen_in(self, node: Path | None) -> None:
        """Serve inside a network namespace, too; None: in none any more. Raises NotPossible, ChaosFailed."""
        await self._ask(Order(node=str(node or "")))

    async def stop(self) -> None:
        """End the process."""
        if self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def _ask(self, order: Order) -> list[EdgeState]:
        async with self._turn:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    with short_path(self._control_path) as path:
                        reader, writer = await asyncio.open_unix_connection(path)
                    try:
                        writer.write(msgspec.json.encode(order) + b"\n")
                        done = _DONE.decode(await reader.readline())
                    finally:
                        writer.close()
            except (OSError, msgspec.MsgspecError) as error:
                raise ChaosFailed(f"the proxy does not answer: {error!r}") from error
        if done.failed:
            raise NotPossible(f"the proxy can't do that: {done.failed}")
        return done.edges
