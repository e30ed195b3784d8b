"""Who stands behind a loopback connection: found by its socket, in /proc."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_PROC = Path("/proc")
_TABLE = _PROC / "net" / "tcp"
_ESTABLISHED = "01"
_LOOPBACK = "0100007F"
_SOCKET = "socket:["


Pair = tuple[int, int]
"""The port that a connection comes from, and ours that it leads to."""


class Peers:
    """Looks up whose connections are; all that wait are looked up together, in one pass over /proc.

    A host connects to a PSP five hundred times at once when it takes partitions over. Looked up one
    by one, the last of them would wait for seconds, and that would be a fault that nobody planned.
    """

    def __init__(self) -> None:
        self._waiting: dict[Pair, asyncio.Future[str]] = {}
        self._working: asyncio.Task[None] | None = None

    async def client_of(self, peer_port: int, own_port: int) -> str:
        """``gateway``, ``host`` or ``other``: whose connection leads from that port to ours."""
        pair = (peer_port, own_port)
        answer = self._waiting.get(pair)
        if answer is None:
            answer = self._waiting[pair] = asyncio.get_running_loop().create_future()
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            # Apart: it reads hundreds of files, and other connections must not wait for that.
            found = await asyncio.to_thread(clients_of, list(waiting))
            for pair, answer in waiting.items():
                if not answer.done():
                    answer.set_result(found.get(pair, "other"))


def clients_of(pairs: Iterable[Pair]) -> dict[Pair, str]:
    """The client of each connection that is a gateway's or a host's. Blocks for some milliseconds."""
    inodes = _inodes(set(pairs))
    owners = _owners() if inodes else {}
    return {pair: owners[inode] for pair, inode in inodes.items() if inode in owners}


def client_of_command(command: str) -> str:
    """What a command line, its words parted by NUL, says of its process."""
    words = command.split("\0")
    if words[0].startswith("ray::HostActor"):
        return "host"
    if "-m" in words[:-1]:
        module, *rest = words[words.index("-m") + 1 :]
        if module == "gateway":
            return "gateway"
        if module == "actors" and rest[:1] == ["host"]:
            return "host"
    return "other"


def _inodes(pairs: set[Pair]) -> dict[Pair, str]:
    """The socket of each connection's far end, by the kernel's table of all connections."""
    wanted = {
        f"{_LOOPBACK}:{peer:04X} {_LOOPBACK}:{own:04X} {_ESTABLISHED}": (peer, own)
        for peer, own in pairs
    }
    found: dict[Pair, str] = {}
    for line in _TABLE.read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split(maxsplit=10)
        pair = wanted.get(" ".join(fields[1:4]))
        if pair is not None:
            found[pair] = fields[9]
    return found


def _owners() -> dict[str, str]:
    """The client of every socket that a gateway or a host holds."""
    owners: dict[str, str] = {}
    for pid, client in _candidates():
        directory = f"/proc/{pid}/fd"
        try:
            names = os.listdir(directory)
        except OSError:
            continue  # it has ended, or is another user's
        for name in names:
            try:
                target = os.readlink(f"{directory}/{name}")
            except OSError:
                continue
            if target.startswith(_SOCKET):
                owners[target[len(_SOCKET) : -1]] = client
    return owners


def _candidates() -> Iterator[tuple[int, str]]:
    for name in os.listdir(_PROC):
        if not name.isdigit():
            continue
        try:
            command = (_PROC / name / "cmdline").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # it has ended
        client = client_of_command(command)
        if client != "other":
            yield int(name), client
