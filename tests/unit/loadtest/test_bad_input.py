"""The generator of bad requests: repeatable, wide, documented; and its judge, who must not be blind."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.bad_input.answers import PROBLEM_CONTENT_TYPE, Answer, complaint
from loadtest.bad_input.catalogue import CLASSES, class_at, request_at
from loadtest.bad_input.effects import Traces, effects
from loadtest.bad_input.refusals import AMOUNT_TOO_SMALL, PAN_NOT_ACCEPTED
from loadtest.bad_input.requests import BadRequest, Ending
from payments.card_numbers import contains_card_number
from tests.unit.gateway.stack import GatewayStack

ROOT = Path(__file__).parents[3]
API_KEY = "sk_test_" + "a" * 12 + "_" + "b" * 32
DOCUMENTED = {"amount_too_small": 422, "pan_not_accepted": 422}
REQUEST_ID = "req_bcpdbjhtmrbgkjqfntjcnksbkbdgkbfm"


def test_there_are_many_classes() -> None:
    """Bad input comes in at least forty kinds, each under a name of its own, each in its turn."""
    assert len({each.name for each in CLASSES}) == len(CLASSES) >= 40
    assert {class_at(index).name for index in range(len(CLASSES))} == {
        each.name for each in CLASSES
    }


def test_a_request_is_made_again_from_its_seed_and_index() -> None:
    """Whoever sees an unexpected answer can send the very same bytes again; other seeds send others."""
    made = [request_at(7, index, API_KEY) for index in range(400)]
    assert made == [request_at(7, index, API_KEY) for index in range(400)]
    assert made != [request_at(8, index, API_KEY) for index in range(400)]


def test_every_expectation_is_documented() -> None:
    """No request expects an answer that the list of problems does not have, with that status."""
    handbook = (ROOT / "docs" / "problems.md").read_text(encoding="utf-8")
    codes = re.findall(r'"status": (\d+),.*?"code": "(\w+)"', handbook, re.DOTALL)
    documented = {(int(status), code) for status, code in codes}
    for index in range(4_000):
        for allowed in request_at(1, index, API_KEY).answers:
            assert allowed, class_at(index)
            assert {(each.status, each.code) for each in allowed} <= documented


def test_card_numbers_are_card_numbers() -> None:
    """The digits that must not come back are those of a card, else their refusal proves nothing."""
    numbers = [request_at(1, index, API_KEY).card_number for index in range(1_000)]
    assert sum(map(bool, numbers)) > 100
    assert all(contains_card_number(number) for number in numbers if number)


# --- the judge -----------------------------------------------------------------------------------------

BAD = BadRequest(data=b"").refused(AMOUNT_TOO_SMALL)
CARD = BadRequest(data=b"", card_number="4111111111111111").refused(PAN_NOT_ACCEPTED)


def answer(
    code: str = "amount_too_small", param: str | None = "$.amount", **changes: object
) -> Answer:
    """An answer as the gateway gives it, some members changed."""
    problem = {
        "type": f"/docs/problems#{code}",
        "title": "Bad",
        "status": 422,
        "detail": "Bad.",
        "instance": f"urn:tallystick:request:{REQUEST_ID}",
        "code": code,
        "retryable": False,
        "request_id": REQUEST_ID,
        "param": param,
        **changes,
    }
    body = json.dumps(problem).encode()
    headers = {
        "request-id": REQUEST_ID,
        "tallystick-version": "2026-11-01",
        "server": "tallystick",
        "content-length": str(len(body)),
        "date": "Sun, 01 Nov 2026 12:00:00 GMT",
        "content-type": PROBLEM_CONTENT_TYPE,
    }
    return Answer(status=422, headers=headers, body=body, is_last=False)


def test_the_documented_answer_is_accepted() -> None:
    """What is as documented is not complained of; and who hangs up within a request is owed nothing."""
    assert complaint(BAD, [answer()], DOCUMENTED) is None
    assert complaint(CARD, [answer("pan_not_accepted", None)], DOCUMENTED) is None
    assert complaint(replace(BAD, ending=Ending.HALF_CLOSED), [], DOCUMENTED) is None
    twice = replace(BAD.then(AMOUNT_TOO_SMALL), is_last_enough=True)
    assert complaint(twice, [answer()], DOCUMENTED) is None


@pytest.mark.parametrize(
    ("request_", "answers"),
    [
        (BAD, []),
        (BAD, [answer(), answer()]),
        (BAD.then(AMOUNT_TOO_SMALL), [answer()]),
        (BAD, [answer(param="$.currency")]),
        (BAD, [answer("amount_too_large")]),
        (BAD, [replace(answer(), status=500)]),
        (BAD, [replace(answer(), body=b"Bad Request")]),
        (BAD, [replace(answer(), headers={**answer().headers, "content-type": "text/html"})]),
        (BAD, [replace(answer(), headers={"content-type": PROBLEM_CONTENT_TYPE})]),
        (BAD, [answer(retryable=True)]),
        (BAD, [answer(status=400)]),
        (BAD, [answer(request_id="req_other")]),
        (CARD, [answer("pan_not_accepted", None, detail="4111 1111-1111 is not taken")]),
        (CARD, [answer("pan_not_accepted", None, instance="/v1/payments/41111111")]),
    ],
)
def test_what_is_not_as_documented_is_told(request_: BadRequest, answers: list[Answer]) -> None:
    """A wrong code, status, place, form or count of answers is complained of, and digits that come back."""
    assert complaint(request_, answers, DOCUMENTED) is not None


def test_a_code_outside_the_list_is_told() -> None:
    """An answer as expected is still wrong when the gateway's own page does not have it."""
    assert complaint(BAD, [answer()], {}) is not None


def test_traces_are_told() -> None:
    """An order, a seller, a verdict or a 5xx that came of bad input is told, each by itself."""
    clean = Traces(newest_payments="a", sellers="a", verdict_count=1, failure_count=0)
    assert effects(clean, clean, []) == []
    for dirty in (
        replace(clean, newest_payments="b"),
        replace(clean, sellers="b"),
        replace(clean, verdict_count=2),
        replace(clean, failure_count=1),
    ):
        assert len(effects(clean, dirty, [])) == 1
    assert len(effects(clean, clean, ["key"])) == 1


def test_a_path_that_is_called_unknown_is_no_route() -> None:
    """A route that came later makes its path a known one: the class must not go on naming it.

    Short runs sent each of its paths hardly ever, and a list of refunds was told only by a long one.
    """
    routes = [
        re.compile(re.sub(r"\\?\{[^}]+\\?\}", "[^/]+", re.escape(route.path)))
        for route in GatewayStack().gateway.documented_routes()
        if route.method.upper() == "GET"
    ]
    indexes = [index for index in range(40_000) if class_at(index).name == "path_unknown"]
    targets = {request_at(3, index, API_KEY).data.split(b" ")[1].decode() for index in indexes}
    assert len(targets) > 20
    assert [path for path in targets if any(route.fullmatch(path) for route in routes)] == []
