"""``/docs/problems``: the page that every problem's ``type`` leads to, made from the table itself."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping

from aiohttp import web

from gateway.door import Answer
from gateway.problems import Code, Problem, ProblemKind, problem_body
from payments.answer import STATUS_PAYMENT_REQUIRED, TITLES

WHAT_TO_DO: Mapping[int, str] = {
    400: "Correct what detail and param name, and send it again.",
    401: "Send one valid API key: Authorization: Bearer sk_…",
    402: "The order is over. A new try needs a new order, with a key of its own.",
    403: "Use a merchant's API key, or an operator's where the route is theirs.",
    404: "Check the path and the id, and whether the key is of the same mode.",
    405: "Use a method that the Allow header lists.",
    408: "Send the same request again.",
    409: "Use another id, or what is there; see how it stands.",
    413: "Send less.",
    415: "Send application/json in UTF-8, without a Content-Encoding.",
    417: "Leave the Expect header out.",
    422: "Correct what detail and param name, and send it again.",
    429: "Send the same request again after Retry-After, and fewer at a time.",
    500: "Send the same request again, with the same Idempotency-Key.",
    503: "Send the same request again after Retry-After, with the same Idempotency-Key.",
}
"""Advice by HTTP status: every status of a problem has one."""

_EXAMPLE = Problem(
    code=Code.AMOUNT_TOO_SMALL,
    detail="The amount must be at least 1 minor unit.",
    param="$.amount",
)
_EXAMPLE_REQUEST_ID = "req_bcpdbjhtmrbgkjqfntjcnksbkbdgkbfm"

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Problems - Tallystick</title>
<style>
  :root { color-scheme: light dark; --line: #8884; --soft: #8881; }
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto;
    padding: 0 1.25rem; }
  h1 { font-size: 1.35rem; margin: 0; }
  table { border-collapse: collapse; width: 100%; }
  th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0;
    border-bottom: 1px solid var(--line); }
  tr:target { background: #e9b94933; }
  code, pre { font: 13px/1.45 ui-monospace, monospace; }
  pre { background: var(--soft); border: 1px solid var(--line); border-radius: .5rem;
    padding: .75rem 1rem; overflow-x: auto; }
</style>
</head>
<body>
<h1>Problems</h1>
<p>What the API answers when it refuses or fails, by code. Retryable: the very same request may
succeed later; a payment order is retried with the same <code>Idempotency-Key</code>.
<code>param</code> says where the trouble lies: a JSON path, <code>header:…</code> or
<code>query:…</code>. An example:</p>
"""
_TABLE_HEAD = """<table>
<thead><tr><th>Code</th><th>Status</th><th>Title</th><th>Retryable</th><th>What to do</th></tr>
</thead>
<tbody>
"""
_FOOT = "</tbody>\n</table>\n</body>\n</html>\n"


async def problems_page(_request: web.Request) -> Answer:
    """GET /docs/problems: every code with its status, its title and what to do."""
    return web.Response(text=_page(), content_type="text/html", charset="utf-8")


def _page() -> str:
    rows = [_row(code.wire, code.value) for code in Code]
    rows += [
        _row(code, ProblemKind(STATUS_PAYMENT_REQUIRED, title, is_retryable=False))
        for code, title in TITLES.items()
    ]
    document = json.loads(problem_body(_EXAMPLE, _EXAMPLE_REQUEST_ID))
    example = html.escape(json.dumps(document, indent=2), quote=False)
    return f"{_HEAD}<pre>{example}</pre>\n{_TABLE_HEAD}{''.join(rows)}{_FOOT}"


def _row(code: str, kind: ProblemKind) -> str:
    name = html.escape(code)
    return (
        f'<tr id="{name}"><td><a href="#{name}"><code>{name}</code></a></td>'
        f"<td>{kind.status}</td><td>{html.escape(kind.title)}</td>"
        f"<td>{'yes' if kind.is_retryable else 'no'}</td>"
        f"<td>{html.escape(WHAT_TO_DO[kind.status])}</td></tr>\n"
    )
