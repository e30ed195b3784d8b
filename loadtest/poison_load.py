"""One stack, and the loads that ``python -m loadtest.poison`` posts to it: good orders and one poison message."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp

from loadtest.idempotency.psp_record import PspRecord
from loadtest.poison_figures import (
    KILLS,
    NONE,
    RAISES,
    UNDECODABLE,
    Answered,
    Run,
    whole_ms,
)
from loadtest.rate import ACCEPTED
from ops.books import books_session
from ops.local.layout import StackHome
from ops.stack.config_file import read_config
from ops.stack.secret_files import SANDBOX_KEY_FILE, SANDBOX_MERCHANT_FILE
from payments.fingerprint import FINGERPRINT_BYTES, VERSION
from payments.identity import order_uuid
from payments.mode import Mode
from payments.partitioning import partition_index
from runtime.clock import SystemClock
from storage.envelope import accepted_at_ms
from storage.opening import queue_settings
from storage.queue import RedisGatewayQueue
from storage.queue_ports import QueueEntry

QUIET_S_MAX = 120.0
# A request that is not answered within this counts as lost: the load's verdict is red then.
ANSWER_S_MAX = 40.0
# Between two loads: hosts that were started again have shared the partitions anew by then.
REST_S = 4.0

_MARKS: Mapping[str, str] = {RAISES: "poison: a handler raises", KILLS: "poison: ends its host"}
ENVIRONMENT = {"TALLY_RAISE_ON": _MARKS[RAISES], "TALLY_CRASH_ON": _MARKS[KILLS]}

_SETTLED = """
SELECT extract(epoch FROM ended.recorded_at - o.accepted_at)::float8 AS seconds
FROM payment_order AS o JOIN order_outcome AS ended USING (partition_index, order_no)
WHERE o.accepted_at >= $1
"""

_OPEN = """
SELECT o.idempotency_key FROM payment_order AS o JOIN open_order USING (partition_index, order_no)
WHERE o.accepted_at >= $1 ORDER BY o.accepted_at LIMIT 5
"""


class Loaded:
    """A stack of its own, and one client."""

    def __init__(self, root: Path, url: str) -> None:
        home = StackHome(root)
        self._url = url
        self._clock = SystemClock()
        self._key = home.secret(SANDBOX_KEY_FILE)
        self._merchant_id = home.secret(SANDBOX_MERCHANT_FILE)
        self._config = read_config(root, {})
        self._records = [PspRecord(psp.url) for psp in self._config.psps if psp.url]

    async def run(self, kind: str, *, order_count: int, rate: float, seed: str) -> Run:
        """Post the load, the poison in its middle, and wait until everything else has ended."""
        source = random.Random(f"{seed} {kind}")  # noqa: S311
        run = Run(kind)
        keys = [_uuid(source) for _ in range(order_count)]
        poison = _uuid(source)
        letters_before = len(await self._letters())
        started_at = whole_ms(self._clock.now())
        await self._load(run, keys, poison, rate)
        deadline_s = time.monotonic() + QUIET_S_MAX
        while True:
            rows = await self._fetch(_SETTLED, started_at)
            letters = (await self._letters())[letters_before:]
            is_quiet = len(rows) >= order_count and len(letters) >= (kind != NONE)
            if is_quiet or time.monotonic() >= deadline_s:
                break
            await asyncio.sleep(0.5)
        # Whatever a letter's second copy would need has had the time to come.
        await asyncio.sleep(REST_S)
        run.settled_s = [row["seconds"] for row in await self._fetch(_SETTLED, started_at)]
        letters = (await self._letters())[letters_before:]
        run.letters = [row["reason"] for row in letters]
        run.open_keys = [
            str(row["idempotency_key"]) for row in await self._fetch(_OPEN, started_at)
        ]
        if letters:
            run.letter_at_s = (letters[0]["created_at"] - started_at).total_seconds()
        run.charged_wrongly_count = await self._charged_wrongly(keys, poison)
        return run

    async def _load(self, run: Run, keys: Sequence[UUID], poison: UUID, rate: float) -> None:
        connector = aiohttp.TCPConnector(limit=500)
        timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
        session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        # The group owns what is posted: a load that is canceled leaves none of it behind.
        async with session as http, asyncio.TaskGroup() as posts:
            begun_s = time.perf_counter()
            for number, key in enumerate(keys):
                due_s = number / rate
                await asyncio.sleep(max(0.0, begun_s + due_s - time.perf_counter()))
                if number == len(keys) // 2 and run.kind != NONE:
                    run.poisoned_at_s = due_s
                    posts.create_task(self._poison(http, run.kind, poison))
                posts.create_task(self._good(http, run, key, begun_s, due_s))

    async def _good(
        self, http: aiohttp.ClientSession, run: Run, key: UUID, begun_s: float, due_s: float
    ) -> None:
        # From the moment it was due: a client that is held up holds up its orders, too.
        if await self._post(http, key):
            run.answered.append(Answered(due_s, time.perf_counter() - begun_s - due_s))
        else:
            run.lost_count += 1

    async def _post(self, http: aiohttp.ClientSession, key: UUID, **fields: str) -> bool:
        headers = {"Authorization": f"Bearer {self._key}", "Idempotency-Key": str(key)}
        body = {"amount": 1_999, "currency": "USD", "payment_method": "tok_approve", **fields}
        try:
            async with http.post(f"{self._url}/v1/payments", json=body, headers=headers) as answer:
                await answer.read()
                return answer.status in ACCEPTED
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _poison(self, http: aiohttp.ClientSession, kind: str, key: UUID) -> None:
        if kind != UNDECODABLE:
            await self._post(http, key, description=_MARKS[kind])
            return
        order = order_uuid(self._merchant_id, Mode.TEST, key)
        print_of = bytes([VERSION]) + bytes(FINGERPRINT_BYTES - 1)
        now_ms = accepted_at_ms(self._clock.now())
        fields = (
            *(b"c", b"payment", b"m", b"1|test", b"k", str(order).encode(), b"f", print_of),
            *(b"v", b"1|0", b"t", b"%d" % now_ms, b"r", b"", b"p", b"\xc1"),
        )
        queue = RedisGatewayQueue(queue_settings(self._config))
        try:
            index = partition_index(order, self._config.deployment.partition_count)
            await queue.append([QueueEntry(index, order, print_of, now_ms, fields)])
        finally:
            await queue.close()

    async def _charged_wrongly(self, keys: Sequence[UUID], poison: UUID) -> int:
        names = [str(key) for key in (*keys, poison)]
        records = [await record.captured_counts(names) for record in self._records]
        counts: list[int] = [sum(of_key) for of_key in zip(*records, strict=True)]
        return sum(count != 1 for count in counts[:-1]) + (counts[-1] != 0)

    async def _letters(self) -> Sequence[Mapping[str, Any]]:
        return await self._fetch(
            "SELECT reason, created_at FROM dead_letter ORDER BY dead_letter_no"
        )

    async def _fetch(self, sql: str, *arguments: object) -> Sequence[Mapping[str, Any]]:
        async with books_session(self._config, "gateway", "poison") as pool:
            return [dict(row) for row in await pool.fetch(sql, *arguments)]


def _uuid(source: random.Random) -> UUID:
    return UUID(int=source.getrandbits(128), version=4)
