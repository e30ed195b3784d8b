"""Notes every merchant's request, and writes the notes to the request log once or twice a second.

Nothing waits for it: a note is a few references put into a list that has a limit, redaction and writing
come later, and what there is no room or no store for is dropped and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID

from aiohttp import hdrs, web

from gateway.authentication import MERCHANT, Merchant
from gateway.bodies import BODY
from gateway.order_redaction import redacted_order_bodies
from gateway.request_headers import HEADER_IDEMPOTENCY_KEY
from gateway.request_redaction import problem_code, redacted_bodies
from gateway.settings import BODY_BYTES_MAX, RequestLogSettings
from payments.answer import PAYMENT_PATH_BASE
from payments.card_numbers import contains_card_number_in_json
from payments.defects import InvariantViolation
from payments.identity import LETTERS, parse_idempotency_key
from runtime.clock import Clock
from runtime.faults import StorageUnavailable
from runtime.logs import get_logger
from runtime.metrics import (
    GATEWAY_REQUEST_LOG_DROPPED,
    GATEWAY_REQUEST_LOG_WAITING,
    GATEWAY_REQUEST_LOG_WRITTEN,
    Metrics,
)
from storage.request_log import RequestLogStore
from storage.request_rows import LoggedRequest
from storage.uuids import DriverUuid, canonical_uuid

# Looking at the log is no news, and would fill it with itself.
REQUESTS_PATH = "/v1/requests"
ORDERS_ROUTE = PAYMENT_PATH_BASE.removesuffix("/")

# Often enough that a merchant finds what it has just done, rarely enough that a batch is one.
FLUSH_EVERY_S = 0.5
# The slot's turn is passed on within this after it is due.
TURN_EVERY_S = 10.0
# At 2,000 requests a second the store may stand still for ten of them; with their bodies at most this much.
WAITING_COUNT_MAX = 20_000
WAITING_BYTES_MAX = 32 * 1024 * 1024
# So many are redacted before requests get their turn again: less than a millisecond.
CHUNK_COUNT = 32
# Rows of one COPY: some MiB, written within a second.
BATCH_COUNT_MAX = 5_000
# As much as its column holds, half an hour: a stream may be open for longer.
DURATION_US_MAX = 2**31 - 1
# A process that ends has no longer for its last notes.
LAST_FLUSH_S = 1.0

_LETTERS_TO_HEX = bytes.maketrans(LETTERS.encode(), b"0123456789abcdef")


class _Note(NamedTuple):
    request_id: str
    merchant: Merchant
    method: str
    route: str
    status: int
    key: str | None
    duration_s: float
    path: Mapping[str, str]
    query: Mapping[str, str]
    request: bytes | None
    answer: bytes | None


class RequestLog:
    """One process's notes. Call ``start``, and ``close`` in the end."""

    def __init__(
        self,
        store: RequestLogStore,
        settings: RequestLogSettings,
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._log = get_logger("gateway.request_log")
        self._waiting: list[_Note] = []
        self._waiting_bytes = 0
        self._flushing = asyncio.Lock()
        self._slot: int | None = None
        self._turn_at_s = 0.0
        self._task: asyncio.Task[None] | None = None
        self._written = metrics.counter(GATEWAY_REQUEST_LOG_WRITTEN)
        self._dropped = {
            reason: metrics.counter(GATEWAY_REQUEST_LOG_DROPPED, reason)
            for reason in ("full", "store", "defect")
        }
        metrics.read(GATEWAY_REQUEST_LOG_WAITING, lambda: [((), len(self._waiting))])

    def began_s(self) -> float:
        """When a request began, for its note."""
        return self._clock.monotonic_s()

    def note(
        self,
        request: web.Request,
        response: web.StreamResponse,
        *,
        request_id: str,
        route: str,
        began_s: float,
    ) -> None:
        """Note a request that was answered, if it was a merchant's. Never waits, never raises."""
        merchant = request.get(MERCHANT)
        if merchant is None or route == REQUESTS_PATH:
            return
        body = request.get(BODY)
        answer = response.body if isinstance(response, web.Response) else None
        if not isinstance(answer, bytes) or len(answer) > BODY_BYTES_MAX:
            answer = None
        size = (len(body) if body else 0) + (len(answer) if answer else 0)
        if (
            len(self._waiting) >= WAITING_COUNT_MAX
            or self._waiting_bytes + size > WAITING_BYTES_MAX
        ):
            self._dropped["full"].inc()
            return
        self._waiting_bytes += size
        self._waiting.append(
            _Note(
                request_id,
                merchant,
                request.method,
                route,
                response.status,
                request.headers.get(HEADER_IDEMPOTENCY_KEY),
                self._clock.monotonic_s() - began_s,
                dict(request.match_info) if "{" in route else {},
                request.rel_url.query if "?" in request.raw_path else {},
                body,
                answer,
            )
        )

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Payments go on without a log: what waits then is dropped as ``full``, and counted."""
        if not task.cancelled() and (defect := task.exception()) is not None:
            self._log.error("request_log_ended", exc_info=defect)

    async def close(self) -> None:
        """Write what waits, within a moment, and end."""
        if self._task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_FLUSH_S):
                await self.flush()
        self._task.cancel()
        await asyncio.wait({self._task})

    async def flush(self) -> None:
        """Write everything that waits now, or drop it; behind a batch that is under way."""
        async with self._flushing:
            await self._flush()

    async def _flush(self) -> None:
        while self._waiting:
            notes, self._waiting = self._waiting[:BATCH_COUNT_MAX], self._waiting[BATCH_COUNT_MAX:]
            self._waiting_bytes = sum(_size(note) for note in self._waiting)
            try:
                await self._write(notes)
            except StorageUnavailable:
                # Whether the batch is there is not known, so it is not written again.
                self._dropped["store"].inc(len(notes))
                self._slot = None
                return
            except InvariantViolation:
                self._log.exception("request_log_refused")
                self._dropped["defect"].inc(len(notes))
            else:
                self._written.inc(len(notes))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            # Also while nobody asks for anything: what is old has to go.
            with suppress(StorageUnavailable):
                await self._turned()
            await self.flush()

    async def _turned(self) -> int:
        """The slot to write into. Raises StorageUnavailable."""
        now_s = self._clock.monotonic_s()
        if self._slot is None or now_s >= self._turn_at_s:
            self._turn_at_s = now_s + TURN_EVERY_S
            self._slot = await self._store.turn(
                keep_s=self._settings.keep_s, bytes_max=self._settings.bytes_max
            )
        return self._slot

    async def _write(self, notes: Sequence[_Note]) -> None:
        slot = await self._turned()
        rows: list[LoggedRequest] = []
        for start in range(0, len(notes), CHUNK_COUNT):
            rows += [self._row(note) for note in notes[start : start + CHUNK_COUNT]]
            await asyncio.sleep(0)
        await self._store.write(slot, rows)

    def _row(self, note: _Note) -> LoggedRequest:
        status, key = note.status, note.key
        return LoggedRequest(
            request_no=_number_of(note.request_id),
            merchant_no=note.merchant.merchant_no,
            mode=note.merchant.mode,
            method=note.method,
            route=note.route,
            status=status,
            code=None if status < 400 else problem_code(note.answer),
            idempotency_key=(
                None if key is None else canonical_uuid(key) or parse_idempotency_key(key)
            ),
            duration_us=min(DURATION_US_MAX, max(0, int(note.duration_s * 1e6))),
            bodies=_bodies(note, self._settings.body_bytes_max),
        )


def _number_of(request_id: str) -> UUID:
    """Return what ``parse_request_id`` does of an id of our own, in a fifth of the time."""
    letters = request_id.rpartition("_")[2].encode()
    return DriverUuid(letters.translate(_LETTERS_TO_HEX).decode())


def _bodies(note: _Note, bytes_max: int) -> bytes:
    is_order = note.route == ORDERS_ROUTE and note.method == hdrs.METH_POST
    if is_order and note.status < 400 and not note.query:
        return redacted_order_bodies(
            request=note.request, answer=note.answer, body_bytes_max=bytes_max
        )
    return redacted_bodies(
        path=note.path,
        query=note.query,
        request=_screened(note),
        answer=note.answer,
        body_bytes_max=bytes_max,
    )


def _size(note: _Note) -> int:
    return (len(note.request) if note.request else 0) + (len(note.answer) if note.answer else 0)


def _screened(note: _Note) -> bytes | None:
    """The request's body, unless it may hold a card number: a refusal may have come before the search."""
    is_searched = note.status < 400
    if note.request is None or is_searched or not contains_card_number_in_json(note.request):
        return note.request
    return None
