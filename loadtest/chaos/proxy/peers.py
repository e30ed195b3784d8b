"""Who stands behind a loopback connection: found by its socket, in /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_TABLE = _PROC / "net" / "tcp"
_ESTABLISHED = "01"
_LOOPBACK = "0100007F"


def client_of(peer_port: int, own_port: int) -> str:
    """``gateway``, ``host`` or ``other``: whose connection leads from that port to ours. Blocks for milliseconds."""
    inode = _inode(peer_port, own_port)
    if inode is None:
        return "other"
    target = f"socket:[{inode}]"
    for pid, client in _candidates():
        if _holds(pid, target):
            return client
    return "other"


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


def _inode(peer_port: int, own_port: int) -> str | None:
    local, remote = f"{_LOOPBACK}:{peer_port:04X}", f"{_LOOPBACK}:{own_port:04X}"
    for line in _TABLE.read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1] == local and fields[2] == remote and fields[3] == _ESTABLISHED:
            return fields[9]
    return None


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


def _holds(pid: int, target: str) -> bool:
    directory = _PROC / str(pid) / "fd"
    try:
        names = os.listdir(directory)
    except OSError:
        return False  # it has ended, or is another user's
    for name in names:
        try:
            if os.readlink(directory / name) == target:
                return True
        except OSError:
            continue
    return False
