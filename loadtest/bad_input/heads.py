"""Heads: request lines, header fields and connections that no HTTP client would send."""

from __future__ import annotations

from dataclasses import replace

from loadtest.bad_input.drawing import Draw
from loadtest.bad_input.refusals import (
    EXPECTATION_FAILED,
    NOT_FOUND,
    PAYMENT_NOT_FOUND,
    REQUEST_MALFORMED,
)
from loadtest.bad_input.requests import (
    PAYMENTS,
    BadRequest,
    Ending,
    common_fields,
    get,
    head,
    order,
    post,
    refused,
)

_TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
# Above the gateway's 8,190 bytes a line, below what a socket takes at once.
_LINE_BYTES = (8_300, 40_000)
_METHODS = ("FOO", "get", "G@T", "PO ST", "\x00", "BREW")


def _unreadable(data: bytes) -> BadRequest:
    """Return bytes that are no request: where the next one would begin can't be told."""
    return BadRequest(data=data, ending=Ending.CLOSED)


def _with_line(draw: Draw, line: bytes) -> BadRequest:
    """Return a good GET but for one line in its head."""
    whole = head("GET", f"{PAYMENTS}/{draw.key()}", common_fields(draw))
    return _unreadable(whole[:-2] + line + b"\r\n\r\n")


@refused(REQUEST_MALFORMED)
def noise(draw: Draw) -> BadRequest:
    """Bytes of no protocol. A control character in front, so that chance can't make a method."""
    junk = draw.octets(draw.integer(1, 400)).replace(b"\n", b".")
    return _unreadable(b"\x01" + junk + b"\r\n\r\n")


@refused(REQUEST_MALFORMED)
def other_protocol(draw: Draw) -> BadRequest:
    return _unreadable(
        draw.choice(
            (
                _TLS_HELLO + draw.octets(200).replace(b"\n", b".") + b"\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n\r\n",
                b"EHLO mail.example\r\n\r\n",
                b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
            )
        )
    )


@refused(REQUEST_MALFORMED)
def http_version(draw: Draw) -> BadRequest:
    version = draw.choice(
        (b"HTTP/9.9", b"HTTP/1.x", b"HTP/1.1", b"HTTP/11", b"HTTP/-1.1", b"http/1.1")
    )
    return _unreadable(b"GET %s %s\r\nHost: x\r\n\r\n" % (PAYMENTS.encode(), version))


@refused(REQUEST_MALFORMED)
def other_version(draw: Draw) -> BadRequest:
    """A good order in words of another HTTP: 2.0 is no text, and 0.9 has no headers."""
    version = draw.choice((b"HTTP/2.0", b"HTTP/0.9"))
    sent = post(draw, order())
    data = sent.data.replace(b"HTTP/1.1", version, 1)
    return replace(sent, data=data, ending=Ending.CLOSED)


@refused(REQUEST_MALFORMED)
def method(draw: Draw) -> BadRequest:
    """A method that HTTP does not know, or that is no token."""
    return _unreadable(head(draw.choice(_METHODS), PAYMENTS, common_fields(draw)))


@refused(REQUEST_MALFORMED)
def target(draw: Draw) -> BadRequest:
    """A request target that is no path."""
    odd = draw.choice(
        (b"", b"v1/payments", b"/v1/pay ments", b"/v1/\x01", b"/v1/\x7f", b"\\v1\\payments")
    )
    return _unreadable(head("GET", odd, common_fields(draw)))


@refused(REQUEST_MALFORMED)
def target_host(draw: Draw) -> BadRequest:
    """A host in the target that claims to be encoded and can't be decoded."""
    host = draw.choice(("xn--a", "xn--", "xn--a-ecp.ru", draw.word() + ".xn--a"))
    odd = draw.choice((f"http://{host}/healthz", f"https://{host}{PAYMENTS}?limit=1"))
    return _unreadable(head(draw.choice(("GET", "POST", "OPTIONS")), odd, common_fields(draw)))


@refused(REQUEST_MALFORMED)
def header_without_colon(draw: Draw) -> BadRequest:
    return _with_line(draw, draw.word().encode())


@refused(REQUEST_MALFORMED)
def header_name(draw: Draw) -> BadRequest:
    """A field name that is no token."""
    name = draw.choice(
        (b"X Odd", b"X\x00Odd", b"", b"X-Odd ", b"X(Odd)", "Ünï".encode(), b"X\x7f", b"{X}")
    )
    return _with_line(draw, name + b": " + draw.word().encode())


@refused(REQUEST_MALFORMED)
def header_value(draw: Draw) -> BadRequest:
    """A field value with characters that could end a line for the next reader."""
    value = draw.choice((b"a\x00b", b"a\rb", b"a\x01b", b"a\x0bb", b"a\x7fb"))
    return _with_line(draw, b"X-Odd: " + value)


@refused(REQUEST_MALFORMED)
def header_folded(draw: Draw) -> BadRequest:
    return _with_line(draw, b"X-Odd: a\r\n " + draw.word().encode())


@refused(REQUEST_MALFORMED)
def request_line_too_long(draw: Draw) -> BadRequest:
    target_text = PAYMENTS + "?metadata[a]=" + "x" * draw.integer(*_LINE_BYTES)
    return _unreadable(head("GET", target_text, common_fields(draw)))


@refused(REQUEST_MALFORMED)
def header_too_long(draw: Draw) -> BadRequest:
    return _with_line(draw, b"X-Long: " + b"x" * draw.integer(*_LINE_BYTES))


@refused(REQUEST_MALFORMED)
def headers_too_many(draw: Draw) -> BadRequest:
    count = draw.integer(300, 1_000)
    return _with_line(draw, b"\r\n".join(b"X-%s: a" % draw.word().encode() for _ in range(count)))


@refused(REQUEST_MALFORMED)
def host_repeated(draw: Draw) -> BadRequest:
    """Two hosts: a proxy may have picked the one, we would pick the other."""
    return _with_line(draw, b"Host: " + draw.word().encode())


@refused(EXPECTATION_FAILED)
def expectation(draw: Draw) -> BadRequest:
    expect = (
        draw.choice((b"200-ok", b"100-continue, more", b"\xff", b"kindness")) + draw.word().encode()
    )
    return post(draw, order(), changes={"Expect": expect})


@refused(EXPECTATION_FAILED)
def expectation_repeated(draw: Draw) -> BadRequest:
    """What can be met, and something else on a line of its own: lines of one name are one list."""
    second = draw.choice((b"200-ok", b"100-continue", b"", b"\xff", draw.word().encode()))
    return post(draw, order(), changes={"Expect": b"100-continue"}, extra=[(b"expect", second)])


@refused(REQUEST_MALFORMED)
def head_cut_short(draw: Draw) -> BadRequest:
    """The connection ends within the head."""
    whole = head("GET", PAYMENTS, common_fields(draw))
    return BadRequest(data=whole[: draw.integer(1, len(whole) - 3)], ending=Ending.HALF_CLOSED)


@refused(NOT_FOUND)
def other_form_of_target(draw: Draw) -> BadRequest:
    """Forms that RFC 9112 knows for proxies and tunnels."""
    method_name, odd = draw.choice(
        (
            ("OPTIONS", "*"),
            ("CONNECT", "127.0.0.1:1"),
            ("GET", f"ftp://x/{draw.word()}"),
            ("GET", f"http://x/{draw.word()}"),
            ("GET", f"/{draw.word()}#{draw.word()}"),
        )
    )
    return get(draw, odd, method=method_name)


@refused(NOT_FOUND)
def upgrade(draw: Draw) -> BadRequest:
    """A wish for another protocol, on a path that does not exist."""
    protocol = draw.choice((b"websocket", b"h2c", b"TLS/1.2"))
    wish = {"Upgrade": protocol, "Connection": b"Upgrade", "Sec-WebSocket-Version": b"13"}
    return get(draw, f"/{draw.word()}", changes=wish)


@refused()
def garbage_after_a_request(draw: Draw) -> BadRequest:
    """What follows a refused GET on the same connection is no request."""
    first = get(draw, f"{PAYMENTS}/{draw.key()}")
    sent = replace(
        first,
        data=first.data + b"\x01" + draw.octets(40).replace(b"\n", b".") + b"\r\n\r\n",
        ending=Ending.CLOSED,
        is_last_enough=True,
    )
    return sent.refused(PAYMENT_NOT_FOUND).then(REQUEST_MALFORMED)


@refused()
def pipelined(draw: Draw) -> BadRequest:
    """Several refused requests at once are answered one after the other, in order."""
    count = draw.integer(2, 8)
    sent = BadRequest(
        data=b"".join(get(draw, f"{PAYMENTS}/{draw.key()}").data for _ in range(count))
    )
    for _ in range(count):
        sent = sent.then(PAYMENT_NOT_FOUND)
    return sent
