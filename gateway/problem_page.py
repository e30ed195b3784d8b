"""``/docs/problems``: where every problem's ``type`` leads. Meaning and example come from ``docs/problems.md``, which
is the page for people who read the repository; status and title from the table of codes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec
from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt

from gateway.problems import Code, ProblemKind
from payments.answer import STATUS_PAYMENT_REQUIRED, TITLES
from payments.defects import InvariantViolation
from payments.operation_answer import TITLES as TITLES_OF_OPERATIONS
from payments.operations import REFUSAL_STATUSES

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
    429: "Wait as long as Retry-After says, and ask for less at once.",
    500: "Send the same request again, with the same Idempotency-Key.",
    503: "Send the same request again after Retry-After, with the same Idempotency-Key.",
}
"""Advice by HTTP status: every status of a problem has one."""

_OF_CODE: Mapping[str, str] = {
    Code.IDEMPOTENCY_KEY_REUSED.wire: (
        "Send the first request again to see what became of it, or this one under a new key."
    ),
    Code.PAN_NOT_ACCEPTED.wire: "Take the digits out. Collect cards with your provider's form.",
    Code.WEBHOOK_SIGNATURE_INVALID.wire: "Sign the bytes that are sent, with the secret configured here.",
    Code.WEBHOOK_TIMESTAMP_INVALID.wire: "Sign each try anew, and set the clock.",
}
"""Where the advice of the status is not the right one."""

_CHAPTER = re.compile(r"^## (.+)$", re.MULTILINE)
_SECTION = re.compile(r"^### `([a-z_]+)`$", re.MULTILINE)
_EXAMPLE = re.compile(r"^```json\n(.+?)^```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"\A# .+\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShownProblem:
    code: str
    status: int
    title: str
    is_retryable: bool
    meaning: str
    """HTML, its example in it."""
    what_to_do: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chapter:
    title: str
    introduction: str
    """HTML."""
    problems: list[_ShownProblem]


def kinds() -> Mapping[str, ProblemKind]:
    """Return what is fixed about every code there is, those of failed payments and operations included."""
    of_failures = {
        code: ProblemKind(STATUS_PAYMENT_REQUIRED, title, is_retryable=False)
        for code, title in TITLES.items()
    }
    of_operations = {
        code: ProblemKind(status, TITLES_OF_OPERATIONS[code], is_retryable=False)
        for code, status in REFUSAL_STATUSES.items()
    }
    return {**of_failures, **of_operations, **{code.wire: code.value for code in Code}}


def what_to_do(code: str, kind: ProblemKind) -> str:
    """Return the advice for whoever got this problem."""
    return _OF_CODE.get(code, WHAT_TO_DO[kind.status])


@cache
def problem_page() -> bytes:
    """Return the page as HTML. Raises InvariantViolation for a section whose code there is not."""
    introduction, *chapters = _CHAPTER.split(_source())
    # No HTML of a page's own: what stands in it is text.
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    template = files("gateway").joinpath("assets", "problems.html.j2").read_text(encoding="utf-8")
    html = environment.from_string(template).render(
        introduction=markdown.render(_TITLE.sub("", introduction)),
        chapters=list(_chapters(chapters, markdown)),
    )
    return html.encode()


@cache
def problem_examples() -> Mapping[str, object]:
    """Return the example of every code, as the page shows it."""
    code_and_text = _SECTION.split(_source())[1:]
    return {
        code: msgspec.json.decode(found[1])
        for code, text in zip(code_and_text[0::2], code_and_text[1::2], strict=True)
        if (found := _EXAMPLE.search(text)) is not None
    }


def _source() -> str:
    """Return the page's text: in a wheel beside the assets, in a checkout where people read it."""
    packed = files("gateway").joinpath("assets", "problems.md")
    if packed.is_file():
        return packed.read_text(encoding="utf-8")
    return (Path(__file__).parents[1] / "docs" / "problems.md").read_text(encoding="utf-8")


def _chapters(parts: list[str], markdown: MarkdownIt) -> Iterator[_Chapter]:
    known = kinds()
    for title, text in zip(parts[0::2], parts[1::2], strict=True):
        introduction, *sections = _SECTION.split(text)
        problems = []
        for code, meaning in zip(sections[0::2], sections[1::2], strict=True):
            kind = known.get(code)
            if kind is None:
                raise InvariantViolation(f"docs/problems.md explains {code}, which nothing answers")
            problems.append(
                _ShownProblem(
                    code=code,
                    status=kind.status,
                    title=kind.title,
                    is_retryable=kind.is_retryable,
                    meaning=markdown.render(meaning),
                    what_to_do=what_to_do(code, kind),
                )
            )
        yield _Chapter(title=title, introduction=markdown.render(introduction), problems=problems)
