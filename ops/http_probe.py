"""Asking a server how it is: one HTTP request on a connection of its own."""

from __future__ import annotations

import asyncio

# On loopback an answer takes milliseconds; longer means busy starting, or frozen.
ANSWER_TIMEOUT_S = 1.5
_HEAD_BYTES_MAX = 4_096
# A host's metrics take 60 bytes a partition and metric: 4,096 partitions stay below 2 MB.
_TEXT_BYTES_MAX = 4 * 1024 * 1024
_HTTP_OK = 200


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
    return _status_of(head)


async def http_text(host: str, port: int, path: str, *, timeout_s: float) -> str | None:
    """The body of a GET that is answered with 200, or None. Asks in HTTP/1.0: bodies come unchunked."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                body = bytearray()
                while len(body) <= _TEXT_BYTES_MAX and (part := await reader.read(65_536)):
                    body += part
            finally:
                writer.close()
        is_whole = len(body) <= _TEXT_BYTES_MAX and _status_of(head) == _HTTP_OK
        return body.decode() if is_whole else None
    except (OSError, TimeoutError, ValueError, EOFError, asyncio.LimitOverrunError):
        return None


def _status_of(head: bytes) -> int | None:
    words = head[:_HEAD_BYTES_MAX].split()
    is_http = len(words) >= 2 and words[0].startswith(b"HTTP/") and words[1].isdigit()
    return int(words[1]) if is_http else None
