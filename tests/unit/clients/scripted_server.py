"""A server that answers by a script, byte for byte: what gateways, proxies and networks do to a client."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Self

_ABORT = struct.pack("ii", 1, 0)


class Got(NamedTuple):
    """One request as it came; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int
    """Which connection it came on, counted from 0."""

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


class Reply(NamedTuple):
    """What is done to one request."""

    data: bytes = b""
    piece_bytes: int = 0
    """Send so many bytes at a time, a pause between them; 0: all at once."""
    pause_s: float = 0.0
    """Before anything is sent, and between pieces."""
    is_reset: bool = False
    """Afterwards the connection is reset; else it stays open unless the head says that it closes."""
    is_closed: bool = False


def answer(status: int, document: object, *, is_closed: bool = False, **headers: str) -> Reply:
    """An answer in JSON. Underscores in header names stand for hyphens."""
    body = json.dumps(document).encode()
    kind = "application/problem+json" if status >= 400 else "application/json"
    fields = {"Content-Type": kind, "Request-Id": "req_abc", **headers}
    if is_closed:
        fields["Connection"] = "close"
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    start = f"HTTP/1.1 {status} Whatever\r\n{head}Content-Length: {len(body)}\r\n\r\n"
    return Reply(start.encode() + body, is_closed=is_closed)


def problem(
    code: str,
    status: int,
    *,
    retryable: bool,
    details: object = None,
    is_closed: bool = False,
    **headers: str,
) -> Reply:
    """A problem document, as a gateway answers it."""
    document = {
        "type": f"/docs/problems#{code}",
        "title": "A title",
        "status": status,
        "detail": "What happened.",
        "code": code,
        "retryable": retryable,
        "request_id": "req_abc",
    }
    if details is not None:
        document["details"] = details
    return answer(status, document, is_closed=is_closed, **headers)


class ScriptedServer:
    """Serves on a port of its own; the last reply of the script is repeated."""

    def __init__(self, *script: Reply, tls: ssl.SSLContext | None = None) -> None:
        self._script = list(script)
        self._tls = tls
        self._turn = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.got: list[Got] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.close()

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def keys(self) -> Sequence[str | None]:
        """The idempotency key of each request."""
        return [each.headers.get("idempotency-key") for each in self.got]

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                number = len(self._connections)
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError):
            if self._tls is not None:
                with self._tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                ) as secured:
                    secured.do_handshake()
                    self._answer_all(secured, number)
            else:
                self._answer_all(connection, number)

    def _answer_all(self, connection: socket.socket, number: int) -> None:
        with connection.makefile("rb") as source:
            while (line := source.readline()).strip():
                method, target, _ = line.decode().split(" ", 2)
                headers: dict[str, str] = {}
                while (field := source.readline().decode().strip()) != "":
                    name, _, value = field.partition(":")
                    headers[name.lower()] = value.strip()
                body = source.read(int(headers.get("content-length", "0")))
                with self._turn:
                    self.got.append(Got(method, target, headers, body, number))
                    reply = self._script.pop(0) if len(self._script) > 1 else self._script[0]
                if not _reply(connection, reply):
                    return


def _reply(connection: socket.socket, reply: Reply) -> bool:
    """Send a reply; return whether the connection goes on."""
    size = reply.piece_bytes or max(1, len(reply.data))
    for start in range(0, max(1, len(reply.data)), size):
        time.sleep(reply.pause_s)
        connection.sendall(reply.data[start : start + size])
    if reply.is_reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    if reply.is_reset or reply.is_closed:
        # The reader's file holds the socket open, too.
        connection.shutdown(socket.SHUT_RDWR) if reply.is_closed else None
        connection.close()
        return False
    return True
