"""Finding what belongs to a part of the stack, whoever is its parent by now."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from ops.local.layout import STACK_ID_VARIABLE
from ops.local.pidfile import ProcessIdentity, identity_of, stop_process
from ops.stack.environment import PART_VARIABLE

_PROC = Path("/proc")


def marked(stack_id: str, part: str | None = None) -> list[ProcessIdentity]:
    """All processes that carry the stack's id, or only those of one part. Never the caller."""
    marker = f"{STACK_ID_VARIABLE}={stack_id}".encode()
    wanted = {marker}
    if part is not None:
        wanted.add(f"{PART_VARIABLE}={part}".encode())
    found: list[ProcessIdentity] = []
    for name in os.listdir(_PROC):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            environment = (_PROC / name / "environ").read_bytes()
            # Most are others': splitting what they have costs more than reading it.
            if marker not in environment or not wanted <= set(environment.split(b"\0")):
                continue
            identity = identity_of(int(name))
        except OSError:
            continue  # ended meanwhile, or another user's
        if identity is not None:
            found.append(identity)
    return found


async def end_marked(stack_id: str, part: str) -> int:
    """Kill every process of a part, and return how many there were. For what must not outlive its
    parent; nothing is lost by it.
    """
    count = 0
    # What is found may have just started children: look until nothing is left.
    while identities := marked(stack_id, part):
        count += len(identities)
        await asyncio.gather(
            *(
                stop_process(identity, stop_signal=signal.SIGKILL, timeout_s=1.0)
                for identity in identities
            )
        )
    return count


def title_of(pid: int) -> str:
    """What a process calls itself: its command line, which some overwrite by a title."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (OSError, UnicodeDecodeError):
        return ""
