"""Framing: bodies whose length is wrong, said twice, or never comes."""

from __future__ import annotations

from dataclasses import replace

from loadtest.bad_input.drawing import Draw
from loadtest.bad_input.refusals import (
    BODY_TOO_LARGE,
    JSON_INVALID,
    REQUEST_MALFORMED,
    REQUEST_TIMEOUT,
)
from loadtest.bad_input.requests import (
    PAYMENTS,
    BadRequest,
    Ending,
    chunked,
    common_fields,
    head,
    order,
    post,
    refused,
)

BODY_BYTES_MAX = 64 * 1024

_CHUNKED = {"Content-Length": None, "Transfer-Encoding": b"chunked"}


def _ill_framed(sent: BadRequest) -> BadRequest:
    return replace(sent, ending=Ending.CLOSED)


def _hidden_order(draw: Draw) -> tuple[bytes, str]:
    """Return a whole good order, for places where it must not be taken for a request, and its key."""
    hidden = post(draw, order())
    return hidden.data, hidden.keys[0]


@refused(REQUEST_MALFORMED)
def content_length(draw: Draw) -> BadRequest:
    """A length that is no plain number."""
    odd = draw.choice(
        (
            b"-1",
            b"+63",
            b"0x3f",
            b"6 3",
            b"63,63",
            b"1e2",
            b"six",
            b"9" * 30,
            "６３".encode(),
            b"63;",
            b"",
        )
    )
    return _ill_framed(post(draw, order(), changes={"Content-Length": odd}))


@refused(REQUEST_MALFORMED)
def content_length_repeated(draw: Draw) -> BadRequest:
    """Two lengths, and behind the shorter body an order that must not be run."""
    hidden, key = _hidden_order(draw)
    sent = post(draw, b"{}" + hidden, extra=[(b"Content-Length", b"2")])
    return _ill_framed(replace(sent, keys=(*sent.keys, key)))


@refused(REQUEST_MALFORMED)
def length_and_chunks(draw: Draw) -> BadRequest:
    """Both ways to say where a body ends: the classic way to smuggle a request past a proxy."""
    hidden, key = _hidden_order(draw)
    body = b"0\r\n\r\n" + hidden
    sent = post(draw, body, extra=[(b"Transfer-Encoding", b"chunked")])
    return _ill_framed(replace(sent, keys=(*sent.keys, key)))


@refused(REQUEST_MALFORMED)
def transfer_encoding(draw: Draw) -> BadRequest:
    """A transfer coding that nobody asked for, or a disguised one."""
    odd = draw.choice(
        (
            b"gzip",
            b"xchunked",
            b"chunked, identity",
            b"chunked, chunked",
            b'"chunked"',
            b"\x0bchunked",
        )
    )
    body = chunked(order())
    changes = {"Content-Length": None, "Transfer-Encoding": odd}
    return _ill_framed(post(draw, body, changes=changes))


@refused(REQUEST_MALFORMED)
def coding_before_chunks(draw: Draw) -> BadRequest:
    """Chunks of something coded, as far as the head says: whoever passes that over reads another body."""
    odd = draw.choice(
        (b"gzip, chunked", b"identity, chunked", b"deflate,chunked", b",chunked", b"\xff, chunked")
    )
    changes = {"Content-Length": None, "Transfer-Encoding": odd}
    return _ill_framed(post(draw, chunked(order()), changes=changes))


@refused(REQUEST_MALFORMED)
def coding_empty(draw: Draw) -> BadRequest:
    """A coding that is none, beside a length: the next reader may see chunks."""
    extra = [(b"Transfer-Encoding", draw.choice((b"", b" ")))]
    return _ill_framed(post(draw, order(), extra=extra))


@refused(REQUEST_MALFORMED)
def chunk_size(draw: Draw) -> BadRequest:
    """A chunk whose size is no hexadecimal number, or not that of the chunk."""
    size = draw.choice((b"zz", b"-3f", b"+3f", b"0x3f", b"3f 3f", b"f" * 40, b"", b"2", b"3f\n"))
    body = size + b"\r\n" + order() + b"\r\n0\r\n\r\n"
    return _ill_framed(post(draw, body, changes=_CHUNKED))


@refused(BODY_TOO_LARGE)
def body_too_large(draw: Draw) -> BadRequest:
    """More than 64 KiB, with its length said before, or in chunks."""
    body = order(description=b'"%s"' % (b"x" * draw.integer(BODY_BYTES_MAX, 2 * BODY_BYTES_MAX)))
    if draw.is_heads():
        return post(draw, body)
    return post(draw, chunked(body, *range(8_000, len(body), 8_000)), changes=_CHUNKED)


@refused(BODY_TOO_LARGE)
def body_announced_too_large(draw: Draw) -> BadRequest:
    """A length that no body of ours may have, refused before any of it was sent."""
    length = b"%d" % draw.integer(BODY_BYTES_MAX + 1, 2**40)
    return _ill_framed(post(draw, b"", changes={"Content-Length": length}))


@refused(REQUEST_MALFORMED)
def body_cut_short(draw: Draw) -> BadRequest:
    """The connection ends within the body: an order is taken whole or not at all."""
    sent = post(draw, order())
    cut = draw.integer(1, len(order()))
    return replace(sent, data=sent.data[:-cut], ending=Ending.HALF_CLOSED)


@refused(REQUEST_MALFORMED)
def chunks_cut_short(draw: Draw) -> BadRequest:
    """The last chunk never comes, then the connection ends."""
    sent = post(draw, chunked(order(), draw.integer(1, 40))[:-5], changes=_CHUNKED)
    return replace(sent, ending=Ending.HALF_CLOSED)


@refused(REQUEST_TIMEOUT, is_rare=True)
def body_never_comes(draw: Draw) -> BadRequest:
    """A body that stops in the middle while the connection stays open."""
    sent = post(draw, order())
    return _ill_framed(replace(sent, data=sent.data[: -draw.integer(1, len(order()))]))


@refused()
def body_longer_than_said(draw: Draw) -> BadRequest:
    """The length cuts the body off, and the rest of it is no request."""
    body = order()
    said = draw.integer(1, len(body) - 2)
    sent = post(draw, body + b"\r\n\r\n", changes={"Content-Length": b"%d" % said})
    sent = replace(sent, ending=Ending.CLOSED, is_last_enough=True)
    return sent.refused(JSON_INVALID).then(REQUEST_MALFORMED)


@refused(JSON_INVALID)
def body_empty(draw: Draw) -> BadRequest:
    """No body, said in either way, or not at all."""
    changes: dict[str, bytes | None] = draw.choice(({}, {"Content-Length": None}))
    if draw.is_heads():
        return post(draw, b"0\r\n\r\n", changes=_CHUNKED)
    return post(draw, b"", changes=changes)


@refused(REQUEST_MALFORMED)
def trailer(draw: Draw) -> BadRequest:
    """A trailer section that is no list of fields."""
    data = chunked(order())[:-2] + draw.word().encode() + b"\r\n\r\n"
    return _ill_framed(post(draw, data, changes=_CHUNKED))


@refused(REQUEST_MALFORMED)
def old_version_with_chunks(draw: Draw) -> BadRequest:
    """HTTP/1.0 knows no chunks, so a reader of that version would end the body elsewhere, or nowhere."""
    key = draw.key()
    fields = [
        *common_fields(
            draw, {"Idempotency-Key": key.encode(), "Content-Type": b"application/json"}
        ),
        (b"Transfer-Encoding", b"chunked"),
        *draw.choice(([], [(b"Content-Length", b"5")])),
    ]
    data = head("POST", PAYMENTS, fields).replace(b"HTTP/1.1", b"HTTP/1.0", 1) + chunked(order())
    return BadRequest(data=data, ending=Ending.CLOSED, keys=(key,))
