"""PSPs that answer late, not at all, or against the truth: through the simulator's own switches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp

from loadtest.chaos.failures import NotNow, NotPossible
from loadtest.chaos.faults.port import Detail, Scene

_ASK_TIMEOUT_S = 5.0

SCENARIOS: Mapping[str, Mapping[str, Any]] = {
    "slow": {"latency_ms_median": 2_500.0, "latency_ms_sigma": 0.5},
    "down": {"outage": True},
}
"""What ``/_sim/scenario`` can do for every request."""

_HEALTHY: Mapping[str, Any] = {
    "latency_ms_median": 0.0,
    "latency_ms_sigma": 0.0,
    "outage": False,
}


class PspMisbehaves:
    """One simulator, while it lasts; what it was told is forgotten when it is killed."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._url = ""
        self._healthy: tuple[str, Mapping[str, Any]] | None = None

    async def begin(self) -> Detail:
        scene = self._scene
        port = scene.stack.routing.psp_ports.get(scene.cell.target)
        if port is None:
            raise NotPossible(f"this stack runs no {scene.cell.target}")
        self._url = f"http://127.0.0.1:{port}"
        step = scene.cell.step
        if step in SCENARIOS:
            self._healthy = ("/_sim/scenario", _HEALTHY)
            await self._post("/_sim/scenario", SCENARIOS[step])
            return dict(SCENARIOS[step])
        wanted = {"fault": step, "share": round(scene.draw.uniform(0.2, 0.6), 2)}
        self._healthy = ("/_faults", {})
        await self._post("/_faults", wanted)
        return wanted

    async def heal(self) -> Detail:
        if self._healthy is None:
            return {}
        path, body = self._healthy
        await self._post(path, body)
        return {}

    async def _post(self, path: str, body: Mapping[str, Any]) -> None:
        timeout = aiohttp.ClientTimeout(total=_ASK_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(self._url + path, json=body) as answer,
            ):
                text = await answer.text()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as fault:
            raise NotNow(f"the simulator does not answer: {fault!r}") from fault
        if status == 404:
            self._healthy = None
            raise NotPossible(f"the simulator has no switch {path}")
        if status >= 300:
            raise NotPossible(f"the simulator refuses {body}: {status} {text[:200]}")
