"""Append-only files made small before a run, so that their growth is what the run wrote.

Valkey rewrites its file when it has doubled and is past 64 MB: on a quick machine that came due within one of a
round's later runs, whose bytes a payment nobody could tell then, and whose processors paid for what others wrote.
"""

from __future__ import annotations

import asyncio

from loadtest.bench.faults import BenchFailed
from ops.local.resp import RespError, ask, info_fields

# Some tens of megabytes at most: a fifth of a second, and some seconds where a disk is slow.
REWRITE_TIMEOUT_S = 30.0
_LOOK_EVERY_S = 0.02


async def rewrite_append_only_file(port: int, password: str) -> None:
    """Have a Valkey server write its file anew, and wait for the end. Raises BenchFailed."""
    try:
        async with asyncio.timeout(REWRITE_TIMEOUT_S):
            # One that goes on began with what was there before it: it ends, and another is asked for.
            begun = await _wait_idle(port, password, begun_min=0)
            await _begin(port, password)
            await _wait_idle(port, password, begun_min=begun + 1)
    except (RespError, TimeoutError) as fault:
        reason = str(fault) or f"not done after {REWRITE_TIMEOUT_S:.0f} s"
        raise BenchFailed(f"Valkey at port {port} did not rewrite its file: {reason}") from fault


async def _begin(port: int, password: str) -> None:
    try:
        await ask(port, password, ("BGREWRITEAOF",))
    except RespError as refusal:
        # One that began by itself since it was last seen idle will do as well.
        if "in progress" not in str(refusal):
            raise


async def _wait_idle(port: int, password: str, *, begun_min: int) -> int:
    """Wait until so many rewrites were begun since the start, and none goes on; return how many were.

    Raises RespError, also when the last one failed.
    """
    while True:
        (reply,) = await ask(port, password, ("INFO", "persistence"))
        persistence = info_fields(reply)
        begun = int(persistence["aof_rewrites"])
        is_idle = (
            persistence["aof_rewrite_in_progress"] == persistence["aof_rewrite_scheduled"] == "0"
        )
        if is_idle and begun >= begun_min:
            break
        await asyncio.sleep(_LOOK_EVERY_S)
    if persistence["aof_last_bgrewrite_status"] != "ok":
        raise RespError("the last rewrite failed")
    return begun
