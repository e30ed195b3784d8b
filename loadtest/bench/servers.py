"""Baseline servers as processes: started on a free port, ended by their pids."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from loadtest.bench.baselines.serving import HOST
from loadtest.bench.faults import BenchFailed
from ops.compiled.form import Form
from ops.local.ports import free_port
from ops.stack.environment import python_environment

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Servers:
    """Several processes behind one port."""

    port: int
    pids: tuple[int, ...]

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port


@asynccontextmanager
async def servers(
    module: str,
    *arguments: str,
    count: int,
    port_option: str = "",
    form: Form,
    secrets: Mapping[str, str],
) -> AsyncIterator[Servers]:
    """Run so many processes of a module of the baselines while the context lasts.

    ``secrets`` go into their environment; what they import of ours has that form. Raises BenchFailed when
    they don't come up.
    """
    port = free_port(set())
    port_arguments = [port_option, str(port)] if port_option else [str(port)]
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", f"loadtest.bench.baselines.{module}"),
            *(*port_arguments, *arguments),
            env={**python_environment(secrets), **form.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )
        for _ in range(count)
    ]
    try:
        # Each has to listen, or the port's other processes would take its share.
        async with asyncio.timeout(START_TIMEOUT_S):
            await _until_listening(port, count, processes)
        yield Servers(port, tuple(process.pid for process in processes))
    except TimeoutError:
        raise BenchFailed(f"{module} does not listen after {START_TIMEOUT_S:.0f} s") from None
    finally:
        await asyncio.gather(*(_stop(process) for process in processes))


async def _until_listening(
    port: int, count: int, processes: list[asyncio.subprocess.Process]
) -> None:
    while _listener_count(port) < count:
        if any(process.returncode is not None for process in processes):
            raise BenchFailed("a baseline server ended at its start")
        await asyncio.sleep(_LOOK_EVERY_S)


def _listener_count(port: int) -> int:
    """How many sockets listen on the port: state 0A in the kernel's table."""
    wanted = f":{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return sum(row[1].endswith(wanted) and row[3] == "0A" for row in rows)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
