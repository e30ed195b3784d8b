"""Whether a Postgres server reacts: cheap enough to ask each second, and without a password."""

from __future__ import annotations

import asyncio
import struct

from ops.local.ports import LOOPBACK

# A healthy server answers in a millisecond, a frozen one never.
PING_TIMEOUT_S = 2.0

_SSL_REQUEST = struct.pack("!ii", 8, 80_877_103)


async def reacts(port: int) -> bool:
    """Does it answer the question whether it speaks TLS? It does so while it recovers, too."""
    try:
        async with asyncio.timeout(PING_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(_SSL_REQUEST)
                return bool(await reader.read(1))
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
