"""Pages that never change while a process runs: packed once, and sent as browsers may keep and check them."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from aiohttp import hdrs, web

from gateway.openapi.common import FIELD_TEXT
from gateway.openapi.declarations import Answered, Header, Parameter

# Scripts, styles and requests of this gateway alone; nothing inline, no frames, no forms.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# As clients write it; one that refuses it by ``q=0`` says so right behind it.
_GZIP = re.compile(r"(?:^|[,\s])gzip(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", re.IGNORECASE)
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": hdrs.ACCEPT_ENCODING,
    # Kept, and asked for again: a page is that of the release that runs now.
    "Cache-Control": "no-cache",
}
ETAG = Header(
    name="ETag",
    text="The page's version, for `If-None-Match`.",
    schema={"type": "string", "pattern": '^"[0-9a-f]{32}"$'},
    is_required=True,
)
IF_NONE_MATCH = Parameter(
    name="If-None-Match",
    place="header",
    text="An `ETag` that you have: then the answer is 304 as long as it is the present one.",
    schema={"type": "string", "pattern": FIELD_TEXT},
)
NOT_MODIFIED = Answered(status=304, text="You have it already.", headers=(ETAG,))


class Page:
    """One page. Held packed, since nearly every client takes it so."""

    def __init__(self, packed: bytes, content_type: str) -> None:
        self._packed = packed
        self._content_type = content_type
        self._etag = f'"{hashlib.sha256(packed).hexdigest()[:32]}"'

    @classmethod
    def of(cls, body: bytes, content_type: str) -> Page:
        """Return the page with that body."""
        return cls(gzip.compress(body, mtime=0), content_type)

    @property
    def body(self) -> bytes:
        return gzip.decompress(self._packed)

    def response(self, request: web.Request) -> web.Response:
        """Return the page in the form that the request can take."""
        headers = {**_HEADERS, hdrs.ETAG: self._etag}
        if request.headers.get(hdrs.IF_NONE_MATCH) == self._etag:
            return web.Response(status=304, headers=headers)
        headers[hdrs.CONTENT_TYPE] = self._content_type
        if _GZIP.search(request.headers.get(hdrs.ACCEPT_ENCODING, "")) is None:
            return web.Response(body=self.body, headers=headers)
        headers[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(body=self._packed, headers=headers)


@cache
def page_of_package(path: str, content_type: str) -> Page:
    """Return a file of ``gateway/assets``, packed already where its name ends in ``.gz``."""
    body = files("gateway").joinpath("assets", *path.split("/")).read_bytes()
    is_packed = path.endswith(".gz")
    return Page(body, content_type) if is_packed else Page.of(body, content_type)
