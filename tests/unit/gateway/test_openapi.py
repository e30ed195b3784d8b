"""The document of the API against the API: complete, true, and OpenAPI."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.openapi.common import problems_of
from gateway.openapi.declarations import (
    Access,
    Answered,
    Declaration,
    Tag,
    declaration_of,
    documented,
)
from gateway.openapi.deployment import narrowed
from gateway.openapi.document import Route, document_of
from gateway.payment_checks import payment_refusal
from gateway.payment_requests import PAYMENT_DECODER
from gateway.problems import Code
from gateway.settings import PaymentRoute
from payments.defects import InvariantViolation
from payments.json_schema import record
from payments.mode import Mode
from payments.money import AMOUNT_MINOR_MAX
from tests.openapi.conformity import Conformity
from tests.unit.gateway.stack import ROUTES, GatewayStack, payment

API_PAGE = Path(__file__).parents[3] / "docs" / "API.md"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document that the gateway of the tests serves."""
    found: dict[str, Any] = json.loads(
        msgspec.json.encode(
            narrowed(document_of(GatewayStack().gateway.documented_routes()), ROUTES)
        )
    )
    return found


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


# --- complete --------------------------------------------------------------------------------------------


def test_every_route_is_documented_and_nothing_else(document: dict[str, Any]) -> None:
    """A route without its declaration beside the handler is told by name, and so is one that is gone."""
    app = GatewayStack().gateway.app
    routes = {
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert {(method, path) for method, path, _ in _operations(document)} == routes


def test_every_problem_is_some_routes(document: dict[str, Any]) -> None:
    """Each code of the table is among the answers of a route, but the one of methods that have no route."""
    named = {
        code
        for route in GatewayStack().gateway.documented_routes()
        for codes in problems_of(route.declaration, route.access).values()
        for code in codes
    }
    assert set(Code) - named == {Code.METHOD_NOT_ALLOWED}


def test_every_operation_says_what_it_is(document: dict[str, Any]) -> None:
    """Each has a name of its own, a summary and a chapter; each parameter says what it means."""
    for _, path, operation in _operations(document):
        assert operation["summary"], path
        assert operation["tags"] == [tag.wire for tag in Tag if tag.wire in operation["tags"]]
        assert all(parameter["description"] for parameter in operation["parameters"]), path


def test_routes_that_need_a_key_say_whose(document: dict[str, Any]) -> None:
    """Merchants' and operators' routes name their key; the others ask for none."""
    whose = {path: operation.get("security") for _, path, operation in _operations(document)}
    assert whose["/v1/payments"] == [{"merchant_key": []}]
    assert whose["/v1/dead_letters/{id}/replay"] == [{"operator_key": []}]
    assert whose["/healthz"] is None


# --- OpenAPI ---------------------------------------------------------------------------------------------


def test_the_document_is_openapi(document: dict[str, Any]) -> None:
    """The specification's own schema accepts it, and every reference leads somewhere."""
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


async def test_the_gateway_serves_it(stack: GatewayStack, document: dict[str, Any]) -> None:
    """It is at /openapi.json, may be kept, and is not sent again while it is the present one."""
    answer = await stack.get("/openapi.json", key="")
    assert answer.status == 200
    assert answer.json == document
    again = await stack.get(
        "/openapi.json", key="", headers={"If-None-Match": answer.headers["Etag"]}
    )
    assert (again.status, again.body) == (304, b"")


def test_two_operations_of_one_name_are_refused() -> None:
    """An operationId that is used twice is a defect, found when the gateway is built."""
    operation = Declaration(
        name="one", tag=Tag.HEALTH, summary="One", answers=(Answered(status=200, text="Yes."),)
    )
    routes = [Route("GET", path, Access.PUBLIC, operation) for path in ("/a", "/b")]
    with pytest.raises(InvariantViolation, match="named one"):
        document_of(routes)


def test_two_shapes_of_one_name_are_refused() -> None:
    """A title that stands for two different shapes would show one of them for both."""
    operations = [
        Declaration(
            name=name,
            tag=Tag.HEALTH,
            summary="One",
            answers=(Answered(status=200, text="Yes.", schema=record("Same", name, {"a": {}})),),
        )
        for name in ("one", "two")
    ]
    routes = [
        Route("GET", f"/{operation.name}", Access.PUBLIC, operation) for operation in operations
    ]
    with pytest.raises(InvariantViolation, match="named Same"):
        document_of(routes)


def test_a_handler_without_a_declaration_has_none() -> None:
    """What was not declared is not made up."""

    async def handler() -> None: ...

    operation = Declaration(name="one", tag=Tag.HEALTH, summary="One", answers=())
    assert declaration_of(handler) is None
    assert declaration_of(documented(operation)(handler)) is operation


# --- true ------------------------------------------------------------------------------------------------


def test_every_example_has_its_shape(document: dict[str, Any]) -> None:
    """Examples of requests and answers are what their schemas say."""
    conformity = Conformity(document)
    seen = 0
    for _, path, operation in _operations(document):
        contents = [answer.get("content", {}) for answer in operation["responses"].values()]
        contents.append(operation.get("requestBody", {}).get("content", {}))
        for content in contents:
            for media in content.values():
                for name, example in media.get("examples", {}).items():
                    if "$ref" in example:
                        shared = document["components"]["examples"]
                        example = shared[example["$ref"].removeprefix("#/components/examples/")]
                    complaint = conformity.of_value(example["value"], media["schema"])
                    assert complaint is None, (path, name, complaint)
                    seen += 1
    assert seen > 300


def test_a_wrong_answer_is_complained_of(document: dict[str, Any]) -> None:
    """The judge of all answers sees a missing member, a new one, a wrong type, status and content type."""
    conformity = Conformity(document)
    right = b'{"status":"ok"}'
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Request-Id": "req_" + "b" * 32,
        "Tallystick-Version": "2026-11-01",
    }
    assert conformity.of_answer("GET", "/healthz", 200, headers, right) is None
    for status, changed, body in (
        (201, headers, right),
        (200, {**headers, "Content-Type": "text/html"}, right),
        (200, {**headers, "Request-Id": "one"}, right),
        (200, {"Content-Type": "application/json"}, right),
        (200, headers, b"{}"),
        (200, headers, b'{"status":5}'),
        (200, headers, b'{"status":"ok","more":1}'),
        (200, headers, b"ok"),
    ):
        assert conformity.of_answer("GET", "/healthz", status, changed, body) is not None
    count = conformity.count
    assert conformity.of_answer("GET", "/v1/none", 200, headers, right) is None
    assert conformity.count == count, "what is not documented is not judged"


_BODY_VALUES = st.fixed_dictionaries(
    {
        "amount": st.sampled_from([-1, 0, 1, AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX + 1]),
        "currency": st.sampled_from(["USD", "usd", "EUR", "XTS", ""]),
        "payment_method": st.sampled_from(
            ["tok_approve", "pm_x", "", "tok_" + "a" * 251, "tok_" + "a" * 252, "tok_é", "tok_\n"]
        ),
    },
    optional={
        "capture": st.sampled_from([None, "automatic", "manual", "later"]),
        "description": st.none() | st.sampled_from(["", "a" * 500, "a" * 501, "a\0b", "日本\n"]),
        "metadata": st.none()
        | st.dictionaries(
            st.sampled_from(["", "a", "b" * 40, "c" * 41, "d\0"]),
            st.sampled_from(["", "a" * 500, "a" * 501, "\0"]),
            max_size=2,
        )
        | st.just({f"k{number}": "" for number in range(50)})
        | st.just({f"k{number}": "" for number in range(51)}),
        "buyer": st.none()
        | st.fixed_dictionaries(
            {}, optional={"name": st.sampled_from([None, "", "a" * 200, "a" * 201, "\0"])}
        ),
    },
)
_TEST_ROUTES = [route for route in ROUTES if route.mode is Mode.TEST]


@given(body=_BODY_VALUES)
def test_the_document_says_of_a_payment_what_the_gateway_does(body: dict[str, Any]) -> None:
    """At every limit of an order the schema accepts what the gateway accepts, and nothing else."""
    routes = GatewayStackRoutes.of(_TEST_ROUTES)
    is_valid = routes.is_valid(body)
    try:
        request = PAYMENT_DECODER.decode(json.dumps(body))
    except msgspec.ValidationError:
        assert not is_valid
        return
    refusal = payment_refusal(request, Mode.TEST, _TEST_ROUTES)
    assert is_valid == (refusal is None), refusal


class GatewayStackRoutes:
    """The schema of a payment order, for a list of providers; made once."""

    _made: GatewayStackRoutes | None = None

    def __init__(self, routes: list[PaymentRoute]) -> None:
        found = json.loads(
            msgspec.json.encode(
                narrowed(document_of(GatewayStack().gateway.documented_routes()), routes)
            )
        )
        self._validator = Draft202012Validator(
            {"$ref": "#/components/schemas/PaymentRequest", **found}
        )

    @classmethod
    def of(cls, routes: list[PaymentRoute]) -> GatewayStackRoutes:
        if cls._made is None:
            cls._made = cls(routes)
        return cls._made

    def is_valid(self, body: object) -> bool:
        return bool(self._validator.is_valid(body))


def test_a_providers_limits_are_in_the_document() -> None:
    """Currencies and smallest amounts of one provider among several hold for its tokens alone."""
    schema = GatewayStackRoutes(list(ROUTES))
    assert schema.is_valid(payment(amount=50))
    assert not schema.is_valid(payment(amount=49))
    assert schema.is_valid(payment(amount=1, currency="JPY"))
    assert schema.is_valid(payment(amount=1, payment_method="pm_x", currency="EUR"))
    assert not schema.is_valid(payment(payment_method="pm_x", currency="JPY"))


def test_the_examples_of_the_page_have_their_shapes(document: dict[str, Any]) -> None:
    """Each JSON example of docs/API.md is what the schema named above it says."""
    conformity = Conformity(document)
    page = API_PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"(?:<!-- shape: (\w+) -->\n)?```json\n(.*?)```", page, re.DOTALL)
    assert blocks
    for shape, text in blocks:
        assert shape, f"no shape is named above: {text}"
        value = json.loads(text)
        complaint = conformity.of_value(value, {"$ref": f"#/components/schemas/{shape}"})
        assert complaint is None, (shape, complaint)


async def test_answers_of_all_kinds_are_documented(stack: GatewayStack) -> None:
    """The stack of these tests holds every answer against the document: here it is shown to look."""
    assert (await stack.get("/healthz", key="")).status == 200
    assert (await stack.get("/v1/payments/none")).code == "payment_not_found"
    assert stack.conformity.count >= 2
