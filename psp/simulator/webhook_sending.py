"""Sends the simulator's webhooks, beside its charges: a full line, or a receiver that is away, delays none."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import aiohttp
import msgspec

from psp.simulator.records import Record
from psp.simulator.state import SandboxState
from psp.simulator.webhooks import Sending, sendings_of, told_by
from psp.simulator.wire import WebhookBody, WebhookFaults
from psp.webhooks import HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, signature_of
from runtime.clock import Clock

# Webhooks that wait: a minute of the fastest load. More are dropped, and counted.
WAITING_MAX = 50_000
# At one time: a receiver answers within milliseconds, and a frozen one must not hold up everything.
IN_FLIGHT_MAX = 16
# 1, 2, 4 … 60 s between them: about four minutes in all.
TRIES_MAX = 9
RETRY_S_MAX = 60.0
TIMEOUT_S = 5.0

# Whoever forges has no secret of ours.
_FORGERS_SECRET = b"a secret that nobody has told us"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTarget:
    """Where webhooks go, and what signs them."""

    url: str
    secret: bytes = field(repr=False)


Shape = Callable[[WebhookBody, bytes, int], tuple[bytes, dict[str, str]]]
"""Makes body and headers of an event, signed with a secret at a time (seconds since 1970)."""


def standard_shape(
    body: WebhookBody, secret: bytes, signed_at_s: int
) -> tuple[bytes, dict[str, str]]:
    """Return an event as the simulator tells it, signed as Standard Webhooks says."""
    told = msgspec.json.encode(body)
    headers = {
        HEADER_ID: body.id,
        HEADER_TIMESTAMP: str(signed_at_s),
        HEADER_SIGNATURE: signature_of(secret, body.id, signed_at_s, told),
    }
    return told, headers


class WebhookSender:
    """Call ``changed`` for each durable record, and ``run`` beside it."""

    def __init__(
        self,
        target: WebhookTarget,
        state: SandboxState,
        wanted: Callable[[], WebhookFaults | None],
        clock: Clock,
        *,
        shape: Shape = standard_shape,
    ) -> None:
        """``wanted`` tells how webhooks go wrong now; None: none are sent."""
        self._target = target
        self._state = state
        self._wanted = wanted
        self._clock = clock
        self._shape = shape
        self._line: list[tuple[float, int, int, Sending]] = []
        self._order = count()
        self._arrived = asyncio.Event()
        self._slots = asyncio.Semaphore(IN_FLIGHT_MAX)
        self.answers: Counter[str] = Counter()
        """``<kind> <status>`` of each try; ``dropped`` of those that found the line full."""

    def changed(self, record: Record) -> None:
        """Put in line what a record makes the PSP tell. Takes microseconds, and never raises."""
        faults = self._wanted()
        if faults is None:
            return
        body = told_by(self._state, record)
        if body is None:
            return
        for sending in sendings_of(body, faults, self._state.seed):
            self._put(sending, sending.delay_ms / 1000, 1)

    async def run(self) -> None:
        """Send until cancelled."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=IN_FLIGHT_MAX)
        async with (
            aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
            asyncio.TaskGroup() as sendings,
        ):
            while True:
                await self._slots.acquire()
                try_no, sending = await self._next()
                sendings.create_task(self._send(session, sending, try_no))

    def _put(self, sending: Sending, delay_s: float, try_no: int) -> None:
        if len(self._line) >= WAITING_MAX:
            self.answers["dropped"] += 1
            return
        due_s = self._clock.monotonic_s() + delay_s
        heapq.heappush(self._line, (due_s, next(self._order), try_no, sending))
        self._arrived.set()

    async def _next(self) -> tuple[int, Sending]:
        while True:
            self._arrived.clear()
            wait_s = self._line[0][0] - self._clock.monotonic_s() if self._line else None
            if wait_s is not None and wait_s <= 0:
                _, _, try_no, sending = heapq.heappop(self._line)
                return try_no, sending
            try:
                async with asyncio.timeout(wait_s):
                    await self._arrived.wait()
            except TimeoutError:
                continue

    async def _send(self, session: aiohttp.ClientSession, sending: Sending, try_no: int) -> None:
        try:
            status = await self._post(session, sending)
        finally:
            self._slots.release()
        self.answers[f"{sending.kind} {status}"] += 1
        if not 200 <= status < 300 and sending.is_wanted and try_no < TRIES_MAX:
            self._put(sending, min(2.0 ** (try_no - 1), RETRY_S_MAX), try_no + 1)

    async def _post(self, session: aiohttp.ClientSession, sending: Sending) -> int:
        """Return the answer's status; 0 where none came."""
        signed_at_s = int(self._clock.now().timestamp()) - sending.age_s
        secret = _FORGERS_SECRET if sending.is_forged else self._target.secret
        body, signed = self._shape(sending.body, secret, signed_at_s)
        headers = {"Content-Type": "application/json", **signed}
        try:
            async with session.post(
                self._target.url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0
