"""What a head may not say, although the parser takes it: a version or coding that nobody speaks here."""

from __future__ import annotations

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web

from runtime.direct_serving import SPOKEN_VERSIONS

_CHUNKED = "chunked"
_CONTINUE = "100-continue"


def is_malformed(request: web.BaseRequest) -> bool:
    """Whether another reader could end this request elsewhere, or take it for another protocol's.

    The parser unpacks ``gzip, chunked`` as chunks alone, and passes over an empty coding. HTTP/1.0 knows
    no codings: RFC 9112, section 6.1.
    """
    version = request.version
    if version not in SPOKEN_VERSIONS:
        return True
    codings = request.headers.getall(hdrs.TRANSFER_ENCODING, None)
    if codings is None:
        return False
    return version != HttpVersion11 or [coding.lower() for coding in codings] != [_CHUNKED]


def is_expectation_met(request: web.BaseRequest) -> bool:
    """Whether all that is expected is the one thing that is understood."""
    expected = request.headers.getall(hdrs.EXPECT, None)
    return expected is None or ", ".join(expected).lower() == _CONTINUE


def answer_in_spoken_version(request: web.BaseRequest) -> None:
    """Have the answer name a version that is spoken here: aiohttp repeats the request's, which it keeps once read."""
    if request.version not in SPOKEN_VERSIONS:
        request._cache["version"] = HttpVersion10  # noqa: SLF001 -- it has no public way
