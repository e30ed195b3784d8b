"""Asking a local server how it is: one HTTP request on a connection of its own."""

from __future__ import annotations

import asyncio

# On loopback an answer takes milliseconds; longer means busy starting, or frozen.
ANSWER_TIMEOUT_S = 1.5
_HEAD_BYTES_MAX = 4_096


async def http_status(host: str, port: int, path: str) -> int | None:
    """The status of a GET, or None when nobody answers in HTTP."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()
                )
                head = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return None
    words = head[:_HEAD_BYTES_MAX].split()
    is_http = len(words) >= 2 and words[0].startswith(b"HTTP/") and words[1].isdigit()
    return int(words[1]) if is_http else None
