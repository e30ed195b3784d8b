"""What is started although it runs already: refused, or harmless."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL, Process

from loadtest.chaos.failures import NotPossible
from loadtest.chaos.faults.port import Detail, Scene
from ops.local.layout import STACK_ID_VARIABLE
from ops.stack.config_file import CONFIG_FILE
from ops.stack.environment import python_environment
from ops.stack.services import python_module

STOP_TIMEOUT_S = 20.0


class DoubleStart:
    """A second daemon, host or gateway of the same name beside the one that runs."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._process: Process | None = None

    async def begin(self) -> Detail:
        stack, target = self._scene.stack, self._scene.cell.target
        if target == "stack":
            argv, name = python_module("ops.stack", "--home", str(stack.root)), "stack"
            argv += [] if stack.shape.is_ray_used else ["--hosts-without-ray"]
        else:
            config = ("--config", str(stack.root / CONFIG_FILE))
            if target == "host" and stack.shape.is_ray_used:
                raise NotPossible("hosts run inside Ray, which starts none twice")
            name = f"{target}-0"
            module = ("actors", "host") if target == "host" else ("gateway",)
            argv = python_module(*module, *config, "--name", name)
        environment = {**python_environment({}), STACK_ID_VARIABLE: stack.home.stack_id()}
        log_path = stack.home.log_path(f"double_{target}")
        with log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *argv, env=environment, stdin=DEVNULL, stdout=log, stderr=log
            )
        return {"name": name, "pid": self._process.pid}

    async def heal(self) -> Detail:
        process = self._process
        if process is None:
            return {}
        if self._scene.cell.target == "stack":
            # It can only be refused; on a busy machine that takes as long as its imports.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await process.wait()
        ended_by_itself = process.returncode
        if ended_by_itself is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        return {"refused_with_code": ended_by_itself, "is_refused": ended_by_itself is not None}
