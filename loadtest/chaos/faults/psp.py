"""PSPs that answer late, not at all, or against the truth: through the simulator's own switch."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from loadtest.chaos.failures import NotNow, NotPossible
from loadtest.chaos.faults.port import Detail, Scene

PATH = "/_faults"

_ASK_TIMEOUT_S = 5.0

Body = Mapping[str, Any]


def _share_of(token: str, low: float, high: float) -> Callable[[random.Random], Body]:
    """So large a part of the approving charges fare as if they carried that token."""
    return lambda draw: {"rates": {token: round(draw.uniform(low, high), 2)}}


def _webhooks(**wrong: float) -> Callable[[random.Random], Body]:
    """Outcomes become unknown, and are told by webhooks that go wrong so."""

    def body(draw: random.Random) -> Body:
        share = round(draw.uniform(0.2, 0.4), 2)
        return {"rates": {"tok_charge_then_timeout": share}, "webhooks": dict(wrong)}

    return body


BODIES: Mapping[str, Callable[[random.Random], Body]] = {
    # Beyond the time after which a call counts as unanswered, and well below it.
    "slow": lambda draw: {"slow_ms": draw.choice((1_000, 3_000, 7_000))},
    "down": lambda _: {"down": True},
    "refused": lambda _: {"refuse_ms": 6_000},
    "charge_then_timeout": _share_of("tok_charge_then_timeout", 0.2, 0.6),
    "charge_then_refuse": _share_of("tok_charge_then_refuse", 0.2, 0.6),
    "concurrent_409": _share_of("tok_conflict_409", 0.2, 0.6),
    "lies": _share_of("tok_lie_not_found", 0.2, 0.6),
    # For ever: each of them waits for the settlement file, or for a person.
    "stored_500": _share_of("tok_stored_500", 0.02, 0.05),
    "webhook_duplicate": _webhooks(duplicate=1.0),
    "webhook_reorder": _webhooks(reorder=1.0, delay_ms=500),
    "webhook_delay": _webhooks(delay_ms=8_000),
    "webhook_forge": _webhooks(forge=1.0),
    "webhook_replay": _webhooks(replay=1.0),
}
"""What the switch is set to, by the step of the cell."""


class PspMisbehaves:
    """One simulator, while it lasts; what it was told is forgotten when it is killed."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._url: str | None = None

    async def begin(self) -> Detail:
        scene = self._scene
        port = scene.stack.routing.psp_ports.get(scene.cell.target)
        if port is None:
            raise NotPossible(f"this stack runs no {scene.cell.target}")
        url = f"http://127.0.0.1:{port}{PATH}"
        body = BODIES[scene.cell.step](scene.draw)
        await _post(url, body)
        self._url = url
        return dict(body)

    async def heal(self) -> Detail:
        if self._url is not None:
            await _post(self._url, {})
        return {}


async def _post(url: str, body: Body) -> None:
    """Switch to exactly that. Raises NotPossible, NotNow."""
    timeout = aiohttp.ClientTimeout(total=_ASK_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, json=body) as answer,
        ):
            text = await answer.text()
            status = answer.status
    except (aiohttp.ClientError, TimeoutError) as fault:
        raise NotNow(f"the simulator does not answer: {fault!r}") from fault
    if status == 404:
        raise NotPossible(f"the simulator has no switch {PATH}")
    if status >= 300:
        raise NotPossible(f"the simulator refuses {body}: {status} {text[:200]}")
