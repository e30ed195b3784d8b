"""The table of problems, and its documentation."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from gateway.documentation import WHAT_TO_DO
from gateway.problems import (
    PROBLEM_TYPE_BASE,
    Code,
    Problem,
    ProblemKind,
    problem_body,
    problem_response,
)
from payments import answer
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
    assert set(sections) == {code.wire for code in Code} | set(answer.TITLES)
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
    for code in answer.TITLES:
        assert '"status": 402' in _sections()[code]


async def test_the_page_has_a_row_for_every_code(stack: GatewayStack) -> None:
    """Every problem's type leads to a row that says its status and what to do."""
    page = (await stack.get("/docs/problems")).body.decode()
    rows = re.findall(r'<tr id="([a-z_]+)"><td><a href="#\1">.*?</a></td><td>(\d+)</td>', page)
    expected = [(code.wire, str(code.value.status)) for code in Code]
    assert rows == expected + [(code, "402") for code in answer.TITLES]
    assert html.escape(WHAT_TO_DO[503]) in page


def test_types_lead_to_one_page() -> None:
    """Frozen problems and all others link to the same page."""
    assert answer.PROBLEM_TYPE_BASE == PROBLEM_TYPE_BASE


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
