"""``/docs/problems``: the page that every problem's ``type`` leads to, made from the table itself."""

from __future__ import annotations

import html

from aiohttp import web

from gateway.door import Answer
from gateway.problems import Code, ProblemKind
from payments.answer import STATUS_PAYMENT_REQUIRED, TITLES

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Problems - Tallystick</title>
<h1>Problems</h1>
<p>What the API answers when it refuses or fails, by code. Retryable: the very same request may
succeed later; a payment order is retried with the same Idempotency-Key.</p>
"""


async def problems_page(_request: web.Request) -> Answer:
    """GET /docs/problems: every code with its status and title."""
    return web.Response(text=_page(), content_type="text/html", charset="utf-8")


def _page() -> str:
    sections = [_section(code.wire, code.value) for code in Code]
    sections += [
        _section(code, ProblemKind(STATUS_PAYMENT_REQUIRED, title, is_retryable=False))
        for code, title in TITLES.items()
    ]
    return f"{_HEAD}{''.join(sections)}</html>\n"


def _section(code: str, kind: ProblemKind) -> str:
    retry = "retryable" if kind.is_retryable else "not retryable"
    return (
        f'<section id="{html.escape(code)}"><h2><code>{html.escape(code)}</code></h2>'
        f"<p>{html.escape(kind.title)}. HTTP {kind.status}, {retry}.</p></section>\n"
    )
