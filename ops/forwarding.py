"""Events forwarded to a local URL, signed as webhooks are: ``tally listen``."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from ops.event_stream import StreamedEvent
from ops.local.durable import write_durably
from ops.stack.secret_files import read_secret
from psp.webhooks import (
    HEADER_ID,
    HEADER_SIGNATURE,
    HEADER_TIMESTAMP,
    SECRET_PREFIX,
    secret_bytes,
    signature_of,
)
from runtime.clock import Clock

SECRET_FILE = "listen_webhook_secret"  # noqa: S105 - a file's name
SECRET_RANDOM_BYTES = 32
# As long as a real delivery waits.
TRY_S_MAX = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """What became of one event."""

    event_id: str
    type: str
    status: int | None
    """What the receiver answered; None for no answer."""
    error: str | None = None

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    def document(self) -> dict[str, object]:
        return {
            "event_id": self.event_id,
            "type": self.type,
            "status": self.status,
            "error": self.error,
        }


def listening_secret(root: Path) -> str:
    """Return the secret that forwarded events of this home are signed with, made at first use.

    The same each time, so that a receiver's configuration stays right. Raises HomeUnusable.
    """
    known = read_secret(root, SECRET_FILE)
    if known:
        return known
    made = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_RANDOM_BYTES)).decode()
    write_durably(root / "secrets" / SECRET_FILE, made)
    return made


class Forwarder:
    """Posts events to one URL. Each is tried once: what it missed can be listened to again, from its cursor on."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, secret: str, *, clock: Clock
    ) -> None:
        self._session = session
        self._clock = clock
        self._url = url
        self._secret = secret_bytes(secret)

    async def forward(self, event: StreamedEvent) -> Forwarded:
        """Post one event, and tell what was answered. Never raises for what the receiver does."""
        event_id = _id_of(event)
        timestamp_s = int(self._clock.now().timestamp())
        headers = {
            "Content-Type": "application/json",
            HEADER_ID: event_id,
            HEADER_TIMESTAMP: str(timestamp_s),
            HEADER_SIGNATURE: signature_of(self._secret, event_id, timestamp_s, event.data),
        }
        timeout = aiohttp.ClientTimeout(total=TRY_S_MAX)
        try:
            async with self._session.post(
                self._url, data=event.data, headers=headers, allow_redirects=False, timeout=timeout
            ) as response:
                return Forwarded(event_id=event_id, type=event.type, status=response.status)
        except (TimeoutError, aiohttp.ClientError) as error:
            reason = str(error) or type(error).__name__
            return Forwarded(event_id=event_id, type=event.type, status=None, error=reason)


def _id_of(event: StreamedEvent) -> str:
    """The event's own id, which a webhook carries; the cursor where the data names none."""
    try:
        document = json.loads(event.data)
    except ValueError:
        return event.cursor
    found = document.get("id") if isinstance(document, dict) else None
    return found if isinstance(found, str) else event.cursor
