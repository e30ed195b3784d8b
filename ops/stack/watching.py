"""Keeping services alive: whoever dies is started again, with growing pauses, and reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ops.local.faults import LocalFault
from ops.stack.deaths import DEATHS_MAX, WINDOW_S, Deaths
from ops.stack.services import Service

# A death is noticed within this; looking is one waitpid a process.
LOOK_EVERY_S = 0.2

Report = Callable[[str, str | None], None]
"""Called with a service's name and its problem, or None when it has none any more."""


async def keep_alive(service: Service, report: Report) -> None:
    """Watch one started service until cancelled."""
    loop = asyncio.get_running_loop()
    deaths = Deaths()
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        if service.is_alive():
            if not deaths.is_loop(loop.time()):
                report(service.name, None)
            continue
        await _bring_back(service, deaths, report)


async def _bring_back(service: Service, deaths: Deaths, report: Report) -> None:
    loop = asyncio.get_running_loop()
    deaths.note(loop.time())
    report(service.name, _problem(service.describe_death(), deaths, loop.time()))
    await asyncio.sleep(deaths.backoff_s(loop.time()))
    try:
        await service.start(lambda _: None)
    except (LocalFault, OSError, TimeoutError) as fault:
        # OSError: a full disk, no process left. The operator may be mending it right now.
        report(service.name, _problem(str(fault), deaths, loop.time()))


def _problem(reason: str, deaths: Deaths, now_s: float) -> str:
    if deaths.is_loop(now_s):
        return f"died {DEATHS_MAX} times within {WINDOW_S:.0f} s and is tried ever again: {reason}"
    return f"is started again: {reason}"
