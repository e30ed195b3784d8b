"""A steady open-loop load: so many payments a second whatever the answers, each under a key of its own.

For single faults and short forms. It repeats nothing and refuses nothing, so that what is seen is the
stack's own doing; the load with duplicates, conflicts and polls is that of the mixes.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from uuid import UUID

import aiohttp
import msgspec

from loadtest.chaos.recording import write_json

HISTORY_FILE = "history.jsonl"
FINAL_FILE = "final.json"

# As a storefront's: an answer that takes longer is none.
ANSWER_TIMEOUT_S = 8.0
# Those who wait for a frozen server are many; they must not hold the others up.
CONNECTIONS_MAX = 4_000
READS_AT_ONCE = 32
FINAL_TIMEOUT_S = 60.0
_READ_AGAIN_S = 0.5

AMOUNT_MINOR_FIRST = 1_000
TOKENS = ("tok_approve",) * 46 + (
    "tok_decline_do_not_honor",
    "tok_charge_then_timeout",
    "tok_charge_then_refuse",
    "tok_rate_limited",
)
ENDED = frozenset({"succeeded", "failed", "canceled", "expired"})


class HistoryLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event of one request. Times are nanoseconds of CLOCK_MONOTONIC."""

    op: int
    type: str
    """``invoke``, then ``ok`` (2xx), ``fail`` (4xx) or ``info`` (nobody knows)."""
    at_ns: int
    kind: str = "post"
    key: str = ""
    amount_minor: int = 0
    token: str = ""
    status: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyLoad:
    """What is sent where."""

    base_url: str
    api_key: str
    rate_per_s: float
    seed: int

    async def run(self, directory: Path, stop: asyncio.Event) -> None:
        """Send until told to stop, wait for the last answers, and leave a history."""
        with (directory / HISTORY_FILE).open("w", encoding="utf-8") as file:
            async with self._session() as session:
                await _Sender(self, session, file).run(stop)

    async def read_final(self, directory: Path) -> None:
        """Read every payment that may exist until it has ended, and leave which have not."""
        lines = (directory / HISTORY_FILE).read_bytes().splitlines()
        events = [msgspec.json.decode(line, type=HistoryLine) for line in lines]
        refused = {event.op for event in events if event.type == "fail"}
        accepted = {event.op for event in events if event.type == "ok"}
        keys = {
            event.key: event.op in accepted
            for event in events
            if event.type == "invoke" and event.op not in refused
        }
        turns = asyncio.Semaphore(READS_AT_ONCE)
        deadline_s = time.monotonic() + FINAL_TIMEOUT_S
        async with self._session() as session:

            async def read(key: str, *, must_exist: bool) -> str | None:
                async with turns:
                    return await self._end_of(session, key, deadline_s, must_exist=must_exist)

            unread = await asyncio.gather(
                *(read(key, must_exist=must_exist) for key, must_exist in keys.items())
            )
        left = [key for key in unread if key is not None]
        write_json(directory / FINAL_FILE, {"is_complete": not left, "unread": left})

    async def _end_of(
        self, session: aiohttp.ClientSession, key: str, deadline_s: float, *, must_exist: bool
    ) -> str | None:
        """None once the payment has ended, or never came to be; else its key."""
        while time.monotonic() < deadline_s:
            try:
                async with session.get(f"{self.base_url}/v1/payments/{key}") as answer:
                    if answer.status == 404 and not must_exist:
                        return None
                    if answer.status == 200 and (await answer.json())["status"] in ENDED:
                        return None
            except (aiohttp.ClientError, TimeoutError):
                pass  # asked again
            await asyncio.sleep(_READ_AGAIN_S)
        return key

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self.api_key}"},
            timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S),
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
        )


class _Sender:
    """One run of a load."""

    def __init__(self, load: SteadyLoad, session: aiohttp.ClientSession, file: TextIO) -> None:
        self._load = load
        self._session = session
        self._file = file
        self._draw = random.Random(f"steady {load.seed}")  # noqa: S311  # keys of test payments
        self._open: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        interval_s = 1.0 / self._load.rate_per_s
        next_s = loop.time()
        op = 0
        while not stop.is_set():
            op += 1
            task = asyncio.create_task(self._post(op))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
            next_s += interval_s
            # Late ones are sent at once: the load does not slow down with what it loads.
            await asyncio.sleep(max(0.0, next_s - loop.time()))
        await asyncio.gather(*self._open)

    async def _post(self, op: int) -> None:
        key = str(UUID(int=self._draw.getrandbits(128), version=4))
        amount_minor = AMOUNT_MINOR_FIRST + op
        token = self._draw.choice(TOKENS)
        self._note(op, "invoke", key=key, amount_minor=amount_minor, token=token)
        body = {"amount": amount_minor, "currency": "USD", "payment_method": token}
        try:
            async with self._session.post(
                f"{self._load.base_url}/v1/payments",
                json=body,
                headers={"Idempotency-Key": key},
            ) as answer:
                await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as fault:
            self._note(op, "info", key=key, error=type(fault).__name__)
            return
        word = "ok" if status < 300 else "fail" if status < 500 else "info"
        self._note(op, word, key=key, status=status)

    def _note(
        self,
        op: int,
        word: str,
        *,
        key: str,
        amount_minor: int = 0,
        token: str = "",
        status: int = 0,
        error: str = "",
    ) -> None:
        line = HistoryLine(
            op=op,
            type=word,
            at_ns=time.monotonic_ns(),
            key=key,
            amount_minor=amount_minor,
            token=token,
            status=status,
            error=error,
        )
        self._file.write(msgspec.json.encode(line).decode() + "\n")
