"""The processes of a stack on this machine that may be killed: its gateways and hosts, no others."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec

from loadtest.idempotency.verdicts import NotTestable, Violated

GATEWAY = "gateway"
HOST = "host"

STATUS_S_MAX = 30.0
# What was killed is started again at once, but takes its imports' time; Ray's workers most of all.
RECOVERY_S_MAX = 60.0
_LOOK_AGAIN_S = 0.5

_PROC = Path("/proc")
_TABLES = (_PROC / "net/tcp", _PROC / "net/tcp6")
# The column of a socket's inode in the tables above.
_INODE_COLUMN = 9
# Of /proc/<pid>/stat behind the command's name: the start time is its field 22, the state its third.
_START_COLUMN = 19


class Victims(Protocol):
    """What rows that kill need of a stack."""

    async def recovered(self) -> None:
        """Return when the stack is healthy, its processes known. Raises Violated if it never is."""

    def kill_gateway(self, ports: Sequence[int]) -> None:
        """Kill a gateway that has the other end of a connection from one of these ports of ours."""

    def kill_host(self) -> None:
        """Kill one partition host that owns partitions."""


class Process(msgspec.Struct, frozen=True):
    """A process as ``tally status`` names it."""

    pid: int
    role: str


class HostProcess(msgspec.Struct, frozen=True):
    """A partition host as ``tally status`` names it."""

    pid: int
    partitions: list[int]


class PspAddress(msgspec.Struct, frozen=True):
    """A simulated provider."""

    url: str


class Status(msgspec.Struct, frozen=True):
    """The members of ``tally status --json`` that are looked at."""

    healthy: bool
    gateway_url: str | None
    processes: list[Process]
    hosts: list[HostProcess]
    psps: list[PspAddress] = []


async def status_of(home: Path, environment: Mapping[str, str]) -> Status:
    """Ask ``tally status``. Raises NotTestable when there is no such stack."""
    asked = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "ops.cli", "--home", str(home), "status", "--json"),
        env={**environment, "TALLY_HOME": str(home)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(STATUS_S_MAX):
            printed, _ = await asked.communicate()
        return msgspec.json.decode(printed, type=Status)
    except TimeoutError:
        with suppress(ProcessLookupError):
            asked.kill()
        raise NotTestable(f"tally status does not answer within {STATUS_S_MAX:.0f} s") from None
    except msgspec.DecodeError:
        raise NotTestable(f"tally status can't tell of a stack in {home}") from None


class LocalStack:
    """The stack of a home. Kills only what its status named, and is still the same process."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._home = home
        self._environment = environment
        self._gateways: Mapping[int, str] = {}
        self._host: tuple[int, str] | None = None

    async def recovered(self) -> None:
        """Return when the stack is healthy, its processes known. Raises Violated if it never is.

        They are looked up now because a look takes a second, and a kill has to follow its request
        within milliseconds.
        """
        try:
            async with asyncio.timeout(RECOVERY_S_MAX):
                status = await self._healthy()
        except TimeoutError:
            reason = f"the stack was not healthy within {RECOVERY_S_MAX:.0f} s"
            raise Violated(reason) from None
        gateways = [each.pid for each in status.processes if each.role == GATEWAY]
        self._gateways = {pid: start_of(pid) for pid in gateways}
        owner = max(status.hosts, key=lambda host: len(host.partitions), default=None)
        self._host = None if owner is None else (owner.pid, start_of(owner.pid))

    async def _healthy(self) -> Status:
        while True:
            status = await status_of(self._home, self._environment)
            if status.healthy:
                return status
            await asyncio.sleep(_LOOK_AGAIN_S)

    def kill_gateway(self, ports: Sequence[int]) -> None:
        """Kill the gateway that has the other end of the first connection that one has accepted."""
        for port in ports:
            inodes = peer_inodes(port)
            for pid, start in self._gateways.items():
                if inodes & socket_inodes(pid):
                    _kill(pid, start)
                    return
        raise NotTestable("no gateway of the stack holds the connection; is --url its address?")

    def kill_host(self) -> None:
        """Kill the host that owns most partitions."""
        if self._host is None:
            raise NotTestable("tally status names no host")
        _kill(*self._host)


def start_of(pid: int) -> str:
    """Return when the process started, in the kernel's ticks; empty when it has gone."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[_START_COLUMN]


def peer_inodes(port: int) -> frozenset[str]:
    """Return the sockets on this machine that are connected to the given port of ours."""
    wanted = f":{port:04X}"
    found: set[str] = set()
    for table in _TABLES:
        with suppress(FileNotFoundError):
            for line in table.read_text(encoding="ascii").splitlines()[1:]:
                columns = line.split()
                if columns[2].endswith(wanted):
                    found.add(columns[_INODE_COLUMN])
    # Zero: a connection that no process has accepted yet.
    return frozenset(found - {"0"})


def socket_inodes(pid: int) -> frozenset[str]:
    """Return the sockets that a process holds; none when it has gone."""
    found: set[str] = set()
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for link in (_PROC / str(pid) / "fd").iterdir():
            with suppress(FileNotFoundError):
                target = os.readlink(link)
                if target.startswith("socket:["):
                    found.add(target[len("socket:[") : -1])
    return frozenset(found)


def _kill(pid: int, start: str) -> None:
    if not start or start_of(pid) != start:
        raise NotTestable(f"process {pid} has gone already")
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError) as fault:
        raise NotTestable(f"process {pid} can't be killed: {fault.strerror}") from None
