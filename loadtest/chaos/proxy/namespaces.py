"""Listening inside another network namespace of this machine, from outside of it."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

# setns(2): enter a namespace of the network.
_CLONE_NEWNET = 0x40000000


def sockets_in(
    namespace: Path, host: str, ports: Sequence[int], backlog: int
) -> list[socket.socket]:
    """Return sockets that listen on these ports inside. Raises OSError.

    A socket stays in the namespace in which it was made. Only the thread that makes them enters it, a
    thread of its own: one of a pool would stay there, with whatever it does next.
    """
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def make() -> None:
        try:
            _enter(namespace)
            for port in ports:
                made.append(socket.create_server((host, port), backlog=backlog))  # noqa: PERF401
        except OSError as fault:
            failed.append(fault)

    thread = threading.Thread(target=make, name=f"in {namespace.name}")
    thread.start()
    thread.join()
    if failed:
        for one in made:
            one.close()
        raise failed[0]
    return made


def _enter(namespace: Path) -> None:
    descriptor = os.open(namespace, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(namespace))
    finally:
        os.close(descriptor)
