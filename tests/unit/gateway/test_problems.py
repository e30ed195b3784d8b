"""The table of problems, and its documentation."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from gateway.problem_page import kinds, what_to_do
from gateway.problems import (
    PROBLEM_TYPE_BASE,
    Code,
    Problem,
    ProblemKind,
    problem_body,
    problem_response,
)
from payments import answer as answer_of
from payments import json_text, operation_answer
from payments.operations import REFUSAL_STATUSES
from tests.unit.gateway.stack import GatewayStack

PAGE = Path(__file__).parents[3] / "docs" / "problems.md"


def _sections() -> dict[str, str]:
    """Return the page's sections by code."""
    parts = re.split(r"^### `([a-z_]+)`$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_no_two_codes_are_one() -> None:
    """Codes with equal values would silently be aliases of each other."""
    assert len(Code.__members__) == len(list(Code))


def test_every_code_is_documented_with_an_example() -> None:
    """The page has a section for every code and for no other, each with a true example."""
    sections = _sections()
    frozen = set(answer_of.TITLES) | set(REFUSAL_STATUSES)
    assert set(sections) == {code.wire for code in Code} | frozen
    for code in Code:
        kind: ProblemKind = code.value
        found = re.search(r"```json\n(.*?)\n```", sections[code.wire], re.DOTALL)
        assert found is not None, code.wire
        example = json.loads(found[1])
        fixed = {
            "type": PROBLEM_TYPE_BASE + code.wire,
            "title": kind.title,
            "status": kind.status,
            "code": code.wire,
            "retryable": kind.is_retryable,
        }
        assert example | fixed == example, code.wire
        assert {"detail", "instance", "request_id"} <= example.keys()


def test_failures_of_payments_are_documented() -> None:
    """The codes of the frozen 402 have sections of their own."""
    for code in answer_of.TITLES:
        assert '"status": 402' in _sections()[code]


def test_what_the_books_refuse_is_documented() -> None:
    """So have the codes by which the books refuse a capture, void or refund, with their status and title."""
    for code, status in REFUSAL_STATUSES.items():
        section = _sections()[code]
        assert f'"status": {status}' in section
        assert f'"title": "{operation_answer.TITLES[code]}"' in section


async def test_every_type_leads_to_an_explanation(stack: GatewayStack) -> None:
    """The page has, for every code, a place of that name with status, title, meaning, example and advice."""
    answer = await stack.get("/docs/problems", key="")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page = answer.body.decode()
    sections = re.findall(r'<section id="([a-z_]+)">(.*?)</section>', page, re.DOTALL)
    assert sorted(code for code, _ in sections) == sorted(kinds())
    frozen = set(answer_of.TITLES) | set(REFUSAL_STATUSES)
    assert set(kinds()) == {code.wire for code in Code} | frozen
    for code, section in sections:
        kind = kinds()[code]
        words = html.unescape(section)
        assert f"{kind.status}: {kind.title}" in words
        assert what_to_do(code, kind) in words
        example = re.search(r"<pre><code[^>]*>(.*?)</code></pre>", section, re.DOTALL)
        assert example is not None, code
        assert json.loads(html.unescape(example[1]))["code"] == code
        meaning = re.search(r"</p>\s*<p>(.*?)</p>", section, re.DOTALL)
        assert meaning is not None, code
        assert "What to do" not in meaning[1], code


async def test_the_page_has_a_row_for_every_code(stack: GatewayStack) -> None:
    """Its table leads to every explanation, by status."""
    page = (await stack.get("/docs/problems", key="")).body.decode()
    rows = re.findall(r'<tr><td><a href="#([a-z_]+)">.*?</td><td>(\d+)</td>', page)
    assert sorted(rows) == sorted((code, str(kind.status)) for code, kind in kinds().items())


def test_types_lead_to_one_page() -> None:
    """Frozen problems and all others link to the same page."""
    assert json_text.PROBLEM_TYPE_BASE == PROBLEM_TYPE_BASE


def test_a_problem_has_the_members_of_rfc_9457() -> None:
    """A problem says what, where, and whether retrying helps."""
    problem = Problem(code=Code.AMOUNT_TOO_SMALL, detail="Too small.", param="$.amount")
    assert json.loads(problem_body(problem, "req_bcd")) == {
        "type": "/docs/problems#amount_too_small",
        "title": "The amount is too small",
        "status": 422,
        "detail": "Too small.",
        "instance": "urn:tallystick:request:req_bcd",
        "code": "amount_too_small",
        "retryable": False,
        "request_id": "req_bcd",
        "param": "$.amount",
    }


def test_a_429_and_a_503_say_when_to_come_back() -> None:
    """Every answer that asks for patience carries Retry-After."""
    for code in Code:
        kind: ProblemKind = code.value
        response = problem_response(Problem(code=code, detail="x", retry_after_s=3), "req_bcd")
        assert response.status == kind.status
        assert response.headers.get("Retry-After") == ("3" if kind.status in (429, 503) else None)
