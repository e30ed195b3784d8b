"""``/openapi.json``, ``/docs`` with what it is made of, and ``/docs/problems``: rendered once, and kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from aiohttp import web

from gateway.door import Answer
from gateway.openapi.declarations import (
    HTML,
    JSON,
    Answered,
    Declaration,
    Parameter,
    Tag,
    documented,
)
from gateway.openapi.deployment import narrowed
from gateway.openapi.document import Route, document_of
from gateway.pages import ETAG, IF_NONE_MATCH, NOT_MODIFIED, Page, page_of_package
from gateway.problem_page import problem_page
from gateway.problems import Code, Problem
from gateway.settings import PaymentRoute
from payments.json_schema import record

HTML_UTF_8 = f"{HTML}; charset=utf-8"
CSS = "text/css"
JAVASCRIPT = "text/javascript"

_ASSETS: Mapping[str, tuple[str, str]] = {
    "docs.css": ("docs.css", CSS),
    "docs.js": ("docs.js", JAVASCRIPT),
    "problems.css": ("problems.css", CSS),
    "swagger-ui-bundle.js": ("swagger-ui/swagger-ui-bundle.js.gz", JAVASCRIPT),
    "swagger-ui.css": ("swagger-ui/swagger-ui.css.gz", CSS),
}
"""By name: the file in ``gateway/assets``, and what it is."""

_NO_ASSET = Problem(code=Code.NOT_FOUND, detail="The documentation has no such part.")


def _page(name: str, summary: str, content: Answered, *parameters: Parameter) -> Declaration:
    """Return the operation of a page."""
    return Declaration(
        name=name,
        tag=Tag.DOCUMENTATION,
        summary=summary,
        parameters=(*parameters, IF_NONE_MATCH),
        answers=(content, NOT_MODIFIED),
        problems=(Code.NOT_FOUND,) if parameters else (),
        refuses_unknown_parameters=False,
    )


def _html(text: str) -> Answered:
    return Answered(
        status=200, text=text, schema={"type": "string"}, content_type=HTML, headers=(ETAG,)
    )


_OPENAPI = _page(
    "read_openapi",
    "This document",
    Answered(
        status=200,
        text="OpenAPI 3.1.",
        schema=record(
            "OpenApi",
            "An OpenAPI document.",
            {
                "openapi": {"type": "string", "pattern": r"^3\.1\.[0-9]+$"},
                "info": {"type": "object"},
                "servers": {"type": "array"},
                "tags": {"type": "array"},
                "paths": {"type": "object"},
                "components": {"type": "object"},
            },
        ),
        headers=(ETAG,),
    ),
)
_DOCS = _page("read_docs", "This document as a page to try it", _html("The page."))
_PROBLEMS = _page("read_problems", "Every problem explained", _html("The page."))
_ASSET = _page(
    "read_docs_asset",
    "A part of these pages",
    Answered(status=200, text="Script or style.", headers=(ETAG,)),
    Parameter(
        name="name",
        place="path",
        text="Its name.",
        schema={"type": "string", "enum": sorted(_ASSETS)},
        example="docs.css",
    ),
)


class Documentation:
    """The handlers of the documentation's routes."""

    def __init__(self) -> None:
        self._docs = page_of_package("docs.html", HTML_UTF_8)
        self._problems = Page.of(problem_page(), HTML_UTF_8)
        self._assets = {
            name: page_of_package(path, f"{kind}; charset=utf-8")
            for name, (path, kind) in _ASSETS.items()
        }
        self._openapi: Page | None = None

    def describe(self, routes: Iterable[Route], payment_routes: Sequence[PaymentRoute]) -> None:
        """Make the document of these routes, before the first request is served."""
        document = narrowed(document_of(routes), payment_routes)
        self._openapi = Page.of(msgspec.json.encode(document), JSON)

    @documented(_OPENAPI)
    async def openapi(self, request: web.Request) -> Answer:
        """GET /openapi.json."""
        assert self._openapi is not None
        return self._openapi.response(request)

    @documented(_DOCS)
    async def docs(self, request: web.Request) -> Answer:
        """GET /docs: Swagger UI on this gateway's document; nothing of it comes from elsewhere."""
        return self._docs.response(request)

    @documented(_PROBLEMS)
    async def problems(self, request: web.Request) -> Answer:
        """GET /docs/problems: every code with its meaning, an example and what to do."""
        return self._problems.response(request)

    @documented(_ASSET)
    async def asset(self, request: web.Request) -> Answer:
        """GET /docs/assets/{name}."""
        page = self._assets.get(request.match_info["name"])
        return _NO_ASSET if page is None else page.response(request)
