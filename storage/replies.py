"""Replies: how a gateway hears what became of its orders, sooner than by reading.

A reply may be lost, doubled or late; nothing depends on it. Whoever waits also reads in the end.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import msgspec
from redis.exceptions import RedisError

from runtime.faults import StorageUnavailable
from storage.queue_discovery import Locate, find_any
from storage.queue_keys import reply_channel
from storage.queue_sessions import AnySession, new_session
from storage.queue_settings import QueueSettings
from storage.sealing import DECODE_FAULTS, EnvelopeUnreadable, describe
from storage.uuids import DriverUuid

__all__ = ["Reply", "ReplyListener", "decode_reply", "encode_reply", "reply_channel"]

# A flush of an owner holds a few hundred orders of 18 bytes each.
REPLY_BYTES_MAX = 1024 * 1024
# First pause after a lost connection, and the longest: replies only save time.
RECONNECT_PAUSE_S_MIN = 0.05
RECONNECT_PAUSE_S_MAX = 2.0
# A silent connection is asked whether it lives after this time, and given up after as long again.
SILENCE_S_MAX = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Orders of this gateway that the books hold now, and orders whose outcome they hold."""

    taken_in: tuple[UUID, ...]
    settled: tuple[UUID, ...]


_UuidBytes = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


class _ReplyBody(msgspec.Struct, frozen=True, gc=False):
    """On the wire. Readers skip fields they don't know."""

    taken_in: list[_UuidBytes] = []
    settled: list[_UuidBytes] = []


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_ReplyBody)


def encode_reply(*, taken_in: Sequence[UUID], settled: Sequence[UUID]) -> bytes:
    """Return one reply message for one gateway."""
    return _encoder.encode(
        _ReplyBody(
            taken_in=[order_uuid.bytes for order_uuid in taken_in],
            settled=[order_uuid.bytes for order_uuid in settled],
        )
    )


def decode_reply(payload: bytes) -> Reply:
    """Return what ``encode_reply`` wrote. Raises EnvelopeUnreadable, and nothing else."""
    if len(payload) > REPLY_BYTES_MAX:
        raise EnvelopeUnreadable("payload_too_large", f"{len(payload)} bytes of {REPLY_BYTES_MAX}")
    try:
        body = _decoder.decode(payload)
    except DECODE_FAULTS as fault:
        raise EnvelopeUnreadable("payload_malformed", describe(fault)) from None
    return Reply(
        taken_in=tuple(map(DriverUuid, body.taken_in)),
        settled=tuple(map(DriverUuid, body.settled)),
    )


class ReplyListener:
    """Listens on one channel, through every reconnection, until it is cancelled.

    ``on_reply`` gets each reply that could be read; ``on_listening`` is called each time listening
    begins (again): what was sent before it is lost, so whoever waits reads once. Both are plain
    calls in the event loop and must be short.
    """

    def __init__(
        self,
        settings: QueueSettings,
        channel: str,
        *,
        on_reply: Callable[[Reply], None],
        on_listening: Callable[[], None] = lambda: None,
        locate: Locate | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        self.unreadable_count = 0
        self.lost_count = 0
        self._settings = settings
        self._channel = channel
        self._on_reply = on_reply
        self._on_listening = on_listening
        self._locate = locate
        # Gateways that lost the same server must not come back in step.
        self._jitter = jitter or random.Random()  # noqa: S311 -- no secret hangs on it
        self._pause_s = RECONNECT_PAUSE_S_MIN

    async def run(self) -> None:
        """Listen for ever. Ends by cancellation alone."""
        while True:
            try:
                await self._listen_once()
            except (RedisError, OSError, StorageUnavailable):
                self.lost_count += 1
            await asyncio.sleep(self._pause_s * self._jitter.uniform(0.5, 1.0))
            self._pause_s = min(2 * self._pause_s, RECONNECT_PAUSE_S_MAX)

    async def _listen_once(self) -> None:
        """Subscribe and pass replies on until the connection is lost."""
        address = await (find_any(self._settings) if self._locate is None else self._locate())
        connection = new_session(self._settings, address)
        try:
            async with asyncio.timeout(
                self._settings.connect_timeout_s + self._settings.reply_timeout_s
            ):
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command("SUBSCRIBE", self._channel)
                await connection.read_response()
            self._pause_s = RECONNECT_PAUSE_S_MIN
            self._on_listening()
            await self._pass_on(connection)
        finally:
            connection.abort()

    async def _pass_on(self, connection: AnySession) -> None:
        is_asked = False
        while True:
            # With a timeout given, redis-py returns None after it and keeps the connection.
            message = await connection.read_response(timeout=SILENCE_S_MAX)
            if message is not None:
                is_asked = False
                if message[0] == b"message":
                    self._take(message[2])
            elif is_asked:
                raise TimeoutError("the connection is silent")
            else:
                is_asked = True
                await connection.send_command("PING")

    def _take(self, payload: bytes) -> None:
        try:
            reply = decode_reply(payload)
        except EnvelopeUnreadable:
            # Counted, not raised: it may come from a newer owner, and nothing depends on it.
            self.unreadable_count += 1
            return
        self._on_reply(reply)
