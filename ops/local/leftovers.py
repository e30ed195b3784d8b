"""Finding the processes of a stack whose supervisor is gone, and no others."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.local.layout import STACK_ID_VARIABLE
from ops.local.pidfile import KILL_TIMEOUT_S, ProcessIdentity, identity_of, stop_process

_PROC = Path("/proc")
_DELETED = " (deleted)"
# Only these programs are recognised by their working directory; a shell that happens to stand in
# a data directory is not ours.
SERVER_PROGRAMS = frozenset({"postgres", "valkey-server", "redis-server"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A process that still runs although nobody supervises it."""

    identity: ProcessIdentity
    program: str
    is_postgres_child: bool = False

    @property
    def stop_signal(self) -> signal.Signals:
        """What makes it end in good order: for Postgres SIGINT, the fast shutdown."""
        return signal.SIGINT if self.program == "postgres" else signal.SIGTERM


def marked_leftovers(stack_id: str, data_directories: tuple[Path, ...]) -> list[Leftover]:
    """All processes of a stack: those that carry its id, and servers standing in its data.

    The second rule is for Postgres' children: they overwrite their environment with their title.
    The caller and its ancestors are left out.
    """
    marker = f"{STACK_ID_VARIABLE}={stack_id}".encode()
    return _found(lambda pid: marker in _environment(pid) or _serves_from(pid, data_directories))


def servers_of(data_directory: Path) -> list[Leftover]:
    """Server processes that have this data directory open as their working directory."""
    return _found(lambda pid: _serves_from(pid, (data_directory,)))


async def stop_leftovers(leftovers: list[Leftover], *, timeout_s: float) -> None:
    """Stop them all at once; whichever hasn't ended after `timeout_s` is killed.

    Postgres' children are left to their parent, and killed when they outlive it. A signal of ours
    would have them give up waiting for the standby, and report a commit that is on one copy only.
    """
    children = [left for left in leftovers if left.is_postgres_child]
    servers = [left for left in leftovers if not left.is_postgres_child]
    await asyncio.gather(
        *(
            stop_process(left.identity, stop_signal=left.stop_signal, timeout_s=timeout_s)
            for left in servers
        )
    )
    await asyncio.gather(
        *(
            stop_process(left.identity, stop_signal=signal.SIGKILL, timeout_s=timeout_s)
            for left in children
        )
    )


def _found(belongs: Callable[[int], bool]) -> list[Leftover]:
    spared = _caller_and_ancestors()
    found: list[Leftover] = []
    for pid in _pids():
        if pid in spared:
            continue
        try:
            identity = identity_of(pid)
            if identity is not None and belongs(pid):
                program = (_PROC / str(pid) / "exe").readlink().name
                # The parent shows its command line, its children a title.
                title = (_PROC / str(pid) / "cmdline").read_bytes()
                is_child = program == "postgres" and title.startswith(b"postgres: ")
                found.append(
                    Leftover(identity=identity, program=program, is_postgres_child=is_child)
                )
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended meanwhile, or another user's: not ours either way
    return found


def _caller_and_ancestors() -> set[int]:
    pids: set[int] = set()
    pid = os.getpid()
    while pid > 1:
        pids.add(pid)
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        pid = int(stat.rpartition(")")[2].split()[1])
    return pids


def _pids() -> Iterator[int]:
    for name in os.listdir(_PROC):
        if name.isdigit():
            yield int(name)


def _environment(pid: int) -> frozenset[bytes]:
    return frozenset((_PROC / str(pid) / "environ").read_bytes().split(b"\0"))


def _serves_from(pid: int, data_directories: tuple[Path, ...]) -> bool:
    directory = _PROC / str(pid)
    if (directory / "exe").readlink().name not in SERVER_PROGRAMS:
        return False
    # A directory that was deleted under a running server is still its own.
    working_directory = str((directory / "cwd").readlink()).removesuffix(_DELETED)
    return Path(working_directory) in data_directories


def descendants(pid: int) -> list[ProcessIdentity]:
    """A process's children, their children and so on, as far as they live."""
    children: dict[int, list[int]] = {}
    for candidate in _pids():
        try:
            stat = (_PROC / str(candidate) / "stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(candidate)
    found: list[ProcessIdentity] = []
    pending = list(children.get(pid, ()))
    while pending:
        child = pending.pop()
        pending += children.get(child, ())
        if (identity := identity_of(child)) is not None:
            found.append(identity)
    return found


async def kill_server(pid: int | None, data_directory: Path) -> None:
    """Kill a server and all that it started, frozen or not; none of it lives on return.

    ``pid`` is the recorded one; a directory that was moved away no longer leads to it. The parent
    goes first: Postgres' would start anew when a child is killed. Raises TimeoutError when
    something survives.
    """
    first = None if pid is None else identity_of(pid)
    doomed = [] if first is None else [first, *descendants(first.pid)]
    while doomed := [*doomed, *(left.identity for left in servers_of(data_directory))]:
        await asyncio.gather(
            *(
                stop_process(identity, stop_signal=signal.SIGKILL, timeout_s=KILL_TIMEOUT_S)
                for identity in doomed
            )
        )
        doomed = []
