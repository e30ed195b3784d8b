"""Answers that leave in one piece: what nearly every order is answered with, and every charge of the simulator.

aiohttp collects headers in a multidict, completes them there and then writes them out: a tenth of all that is done
for one of these. Here they are lines from the beginning. Who looks at ``headers``, and whoever asks for other than
HTTP/1.1 and a kept connection, gets aiohttp's own way; a test holds both to the same bytes.
"""

from __future__ import annotations

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict


class LinedResponse(web.Response):
    """A response with a body, whose headers are lines. They are our own words and ids: nothing is escaped.

    No ``on_response_prepare`` of the application is called for it; ours have none.
    """

    def __init__(self, status: int, body: bytes, lines: str) -> None:
        """``lines``: headers as they are sent, each with its CRLF."""
        super().__init__(status=status, body=body)
        self._lines: str | None = lines

    def add_lines(self, lines: str) -> None:
        """Add headers that it does not have yet."""
        if self._lines is None:
            self._headers.extend(_headers_of(lines))
        else:
            self._lines += lines

    @property
    def headers(self) -> CIMultiDict[str]:
        """All headers; from now on aiohttp writes them."""
        self._unfold()
        return self._headers

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Send it, where that needs no thought; else begin to, as aiohttp does."""
        if (
            self._lines is None
            or self._eof_sent
            or self._keep_alive is False
            or not request.keep_alive
            or request.version != HttpVersion11
            or request.method == hdrs.METH_HEAD
        ):
            self._unfold()
            return await super().prepare(request)
        body = self._body
        assert isinstance(body, bytes)
        head = (
            f"HTTP/1.1 {self._status} {self._reason}\r\n{self._lines}"
            f"Content-Length: {len(body)}\r\nDate: {rfc822_formatted_time()}\r\n\r\n"
        )
        await request.writer.write_eof(head.encode("ascii") + body)
        # What aiohttp notes of an answer that was sent: ``write_eof`` has nothing to do any more.
        self._keep_alive = True
        self._eof_sent = True
        return None

    def _unfold(self) -> None:
        """Hand the headers over to aiohttp."""
        lines, self._lines = self._lines, None
        if lines is not None:
            self._headers.extend(_headers_of(lines))


def _headers_of(lines: str) -> list[tuple[str, str]]:
    pairs = (line.partition(": ") for line in lines.splitlines())
    return [(name, value) for name, _, value in pairs]
