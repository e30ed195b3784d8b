"""Requests over ``http.client``: kept connections, one deadline for a whole exchange."""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tallystick.exchange import ANSWER_BYTES_MAX, NoAnswer, Request, Response

R = TypeVar("R")

# A gateway closes a connection after 75 s without a request, and proxies before it often after 60 s: a
# request must not meet that end.
IDLE_S_MAX = 30.0
# What a busy web server's threads may need at once; more connections are opened, and not kept.
IDLE_COUNT_MAX = 32

_READ_BYTES = 64 * 1024


class _OutOfTime(TimeoutError):
    """The deadline has passed in the middle of an exchange."""


class _Reader(io.RawIOBase):
    """Reads a socket up to a deadline, however slowly the bytes come."""

    def __init__(self, connection: _Connection, sock: socket.socket, source: io.RawIOBase) -> None:
        self._connection = connection
        self._sock = sock
        # Holds the socket open until this is closed, also when the connection was closed before.
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._connection.left_s())
        count: int | None = self._source.readinto(buffer)
        return count

    def close(self) -> None:
        self._source.close()
        super().close()


class _Connection(http.client.HTTPConnection):
    """A connection whose every wait ends at the deadline of the exchange that it is in."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port)
        self.default_port = http.client.HTTPS_PORT if tls else http.client.HTTP_PORT
        self._tls = tls
        self.until_s = 0.0
        self.used_at_s = 0.0

    def left_s(self) -> float:
        left_s = self.until_s - time.monotonic()
        if left_s <= 0:
            raise _OutOfTime
        return left_s

    def connect(self) -> None:
        plain = socket.create_connection((self.host, self.port), timeout=self.left_s())
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # From here on close() closes it, also when there is no agreement about TLS.
        self.sock = plain
        if self._tls is not None:
            plain.settimeout(self.left_s())
            self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
        self.response_class = self._response  # type: ignore[assignment]

    def _response(self, sock: socket.socket, **options: Any) -> http.client.HTTPResponse:
        response = http.client.HTTPResponse(sock, **options)
        source = response.fp.detach()
        response.fp = io.BufferedReader(_Reader(self, sock, source), _READ_BYTES)
        return response


class SyncTransport:
    """Connections to one gateway. Threads may share it; a forked child opens its own."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.hostname
        self._port = parts.port or (443 if self._tls else 80)
        self._headers = dict(headers)
        self._turn = threading.Lock()
        self._idle: list[_Connection] = []
        self._owner = os.getpid()

    def send(self, request: Request, timeout_s: float) -> Response | NoAnswer:
        """Send a request and return what came back within the time."""
        connection = self._take()
        result = self._exchanged(connection, request, timeout_s, _read)
        if isinstance(result, Response):
            self._give_back(connection)
        return result

    def open_stream(self, request: Request, timeout_s: float) -> OpenStream | Response | NoAnswer:
        """Send a request; return its answer once the head is here, if that is a 200, to be read on.

        Any other answer is returned whole. A stream has a connection of its own.
        """
        connection = _Connection(self._host, self._port, self._tls)
        result = self._exchanged(connection, request, timeout_s, _opened)
        if isinstance(result, Response):
            connection.close()
        return result

    def _exchanged(
        self,
        connection: _Connection,
        request: Request,
        timeout_s: float,
        read: Callable[[_Connection], R],
    ) -> R | NoAnswer:
        """Send a request and read what comes; a connection that gave no answer is closed."""
        connection.until_s = time.monotonic() + timeout_s
        was_sent = False
        try:
            if connection.sock is None:
                connection.connect()
            was_sent = True
            connection.sock.settimeout(connection.left_s())
            connection.request(
                request.method,
                request.target,
                body=request.body,
                headers={**self._headers, **request.headers},
            )
            return read(connection)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            where = f"{self._host}:{self._port}"
            return NoAnswer(f"{where}: {_reason(error, timeout_s)}", was_sent)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._turn:
            kept, self._idle = self._idle, []
        if self._owner == os.getpid():
            for connection in kept:
                connection.close()

    def _take(self) -> _Connection:
        now_s = time.monotonic()
        stale: list[_Connection] = []
        found = None
        with self._turn:
            if self._owner != os.getpid():
                # The parent's connections: a request on one of them would mix with the parent's.
                self._idle, self._owner = [], os.getpid()
            while self._idle and found is None:
                connection = self._idle.pop()
                is_fresh = now_s - connection.used_at_s < IDLE_S_MAX
                if is_fresh and connection.sock is not None:
                    found = connection
                else:
                    stale.append(connection)
        for connection in stale:
            connection.close()
        return found or _Connection(self._host, self._port, self._tls)

    def _give_back(self, connection: _Connection) -> None:
        connection.used_at_s = time.monotonic()
        with self._turn:
            is_kept = connection.sock is not None and len(self._idle) < IDLE_COUNT_MAX
            if is_kept:
                self._idle.append(connection)
        if not is_kept:
            connection.close()


class OpenStream:
    """An answer whose body is read as it comes."""

    def __init__(self, connection: _Connection, answer: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._answer = answer
        self.head = Response(status=answer.status, headers=_fields(answer), body=b"")

    def read(self, silence_s: float) -> bytes:
        """Return what came next; nothing when it has ended, was cut off, or was silent for so long."""
        self._connection.until_s = time.monotonic() + silence_s
        try:
            return self._answer.read1(_READ_BYTES)
        except (OSError, http.client.HTTPException):
            return b""

    def close(self) -> None:
        """Close the connection."""
        self._answer.close()
        self._connection.close()


def _opened(connection: _Connection) -> OpenStream | Response:
    answer = connection.getresponse()
    if answer.status == http.client.OK:
        return OpenStream(connection, answer)
    return _whole(answer)


def _read(connection: _Connection) -> Response:
    return _whole(connection.getresponse())


def _fields(answer: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.getheaders()}


def _whole(answer: http.client.HTTPResponse) -> Response:
    if answer.length is None and not answer.chunked:
        # Its end is the connection's, which may have been cut, in the middle of its head too.
        raise http.client.HTTPException("an answer that does not say how long it is")
    body = bytearray()
    while piece := answer.read1(_READ_BYTES):
        body += piece
        if len(body) > ANSWER_BYTES_MAX:
            raise http.client.HTTPException(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
    answer.close()
    return Response(status=answer.status, headers=_fields(answer), body=bytes(body))


def _reason(error: Exception, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:.1f} s"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    # The text may quote what came, which can be anything.
    return type(error).__name__
