"""A PSP's HTTP: whatever comes back is an answer or the lack of one, within its bounds, and never an exception."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from payments.attempts import PspAnswer, ResultClass
from psp.http_client import HttpAnswer, PspHttp
from tests.raw_server import saying

BYTES_MAX = 1_000


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[PspHttp]:
    """A client of a server that says this, whatever it is asked, and hangs up."""
    async with saying(answer) as url:
        http = PspHttp(url, headers={}, connections_max=1, answer_bytes_max=BYTES_MAX)
        try:
            yield http
        finally:
            await http.close()


async def asked(answer: bytes) -> HttpAnswer | PspAnswer:
    async with answering(answer) as http:
        return await http.request("POST", "/", headers={}, body=b"{}", timeout_s=5.0)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"hello\r\n\r\n",
        b"\x00" * 200,
        b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: no\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"y" * 1_001,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + 2_000 * b"1\r\ny\r\n",
    ],
)
async def test_what_can_t_be_read_proves_nothing(answer: bytes) -> None:
    """The request may have run, whatever came back of it."""
    got = await asked(answer)
    assert isinstance(got, PspAnswer)
    assert got.result is ResultClass.UNKNOWN


async def test_a_packed_answer_is_not_unpacked() -> None:
    """A thousand bytes may stand for a million: the bound is for what is held, and nothing packed was asked for."""
    packed = gzip.compress(b"\0" * 900_000)
    assert len(packed) <= BYTES_MAX
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    got = await asked(head + packed)
    assert isinstance(got, HttpAnswer)
    assert got.body == packed
