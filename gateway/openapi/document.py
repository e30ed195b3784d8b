"""The OpenAPI 3.1 document of an application, made from its routes and what is declared beside their handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from gateway.openapi.common import PROBLEM, headers_of, parameters_of, problems_of
from gateway.openapi.declarations import (
    JSON,
    Access,
    Answered,
    Body,
    Declaration,
    Example,
    Header,
    Parameter,
    Tag,
)
from gateway.problem_page import problem_examples
from gateway.problems import PROBLEM_CONTENT_TYPE, PROBLEM_TYPE_BASE, Code, ProblemKind
from payments.answer import API_VERSION
from payments.defects import InvariantViolation

OPENAPI_VERSION = "3.1.0"
_SCHEMA_PATH = "#/components/schemas/"
_EXAMPLE_PATH = "#/components/examples/"
# Whoever gets these sent a body that is no example for anybody.
_OF_BAD_BODIES = frozenset({400, 413, 415, 422})

_ABOUT = """A payment processor. Amounts are integers of minor units (cents, yen, fils) with an upper-case ISO 4217
currency. Times are RFC 3339 in UTC. Objects of answers may get further members: pass over what you don't know.

**Whatever happens, retry with the same `Idempotency-Key`.** A key is never charged twice.

Whole numbers are written without a fraction: `1999`, never `1999.0`.

Card numbers (13 to 19 digits that look like one) are refused anywhere in a request with 422 `pan_not_accepted`,
before anything is logged or queued. Unknown fields and parameters are refused, not ignored."""

_SECURITY_TEXT = {
    Access.MERCHANT: "A merchant's key: `sk_test_…` or `sk_live_…`. The merchant and the mode come from it.",
    Access.OPERATOR: "An operator's key, `op_test_…` or `op_live_…`.",
}


class Route(NamedTuple):
    """One method of one path, as the application has it."""

    method: str
    """In upper case."""
    path: str
    access: Access
    declaration: Declaration


def document_of(routes: Iterable[Route]) -> dict[str, object]:
    """Return the document. Raises InvariantViolation for two shapes, or operations, of one name."""
    schemas = _Schemas()
    paths: dict[str, dict[str, object]] = {}
    names: set[str] = set()
    for route in sorted(routes, key=_place_of):
        described = _operation(route, schemas)
        if described["operationId"] in names:
            raise InvariantViolation(f"two operations are named {described['operationId']}")
        names.add(str(described["operationId"]))
        paths.setdefault(route.path, {})[route.method.lower()] = described
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "Tallystick",
            "version": API_VERSION,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The gateway that serves this document."}],
        "tags": [{"name": tag.wire, "description": tag.value} for tag in Tag],
        "paths": paths,
        "components": {
            "securitySchemes": {
                access.value: {"type": "http", "scheme": "bearer", "description": text}
                for access, text in _SECURITY_TEXT.items()
            },
            "schemas": schemas.components,
            "examples": {
                code.wire: {"summary": code.value.title, "value": problem_examples()[code.wire]}
                for code in Code
            },
        },
    }


def _place_of(route: Route) -> tuple[int, str, int]:
    """Chapters in their order; in each, paths by name, POST first."""
    order = {"POST": 0, "GET": 1}
    return list(Tag).index(route.declaration.tag), route.path, order.get(route.method, 2)


class _Schemas:
    """Shapes with a title go under ``components``, once each; elsewhere a reference stands for them."""

    def __init__(self) -> None:
        self.components: dict[str, object] = {}
        self._originals: dict[str, object] = {}

    def of(self, schema: object) -> object:
        """Return a shape with references for the titled ones in it."""
        if isinstance(schema, Mapping):
            title = schema.get("title")
            if isinstance(title, str):
                return self._referred(title, schema)
            return {name: self.of(value) for name, value in schema.items()}
        if isinstance(schema, list | tuple):
            return [self.of(value) for value in schema]
        return schema

    def of_body(self, body: Body) -> object:
        """Return the shape of a request's body."""
        if not isinstance(body.of, type):
            return self.of(body.of)
        (reference,), components = msgspec.json.schema_components(
            [body.of], ref_template=_SCHEMA_PATH + "{name}"
        )
        for name, component in components.items():
            made = {key: value for key, value in component.items() if key != "title"}
            if name == body.of.__name__:
                made.update(body.more, description=body.text)
            self._put(name, made, made)
        return reference

    def _referred(self, title: str, schema: Mapping[str, object]) -> object:
        if self._originals.get(title) != schema:
            made = {name: self.of(value) for name, value in schema.items() if name != "title"}
            self._put(title, schema, made)
        return {"$ref": _SCHEMA_PATH + title}

    def _put(self, name: str, original: object, made: object) -> None:
        if self._originals.setdefault(name, original) != original:
            raise InvariantViolation(f"two shapes are named {name}")
        self.components[name] = made


def _operation(route: Route, schemas: _Schemas) -> dict[str, object]:
    declaration = route.declaration
    described: dict[str, object] = {
        "operationId": declaration.name,
        "tags": [declaration.tag.wire],
        "summary": declaration.summary,
        "description": declaration.text,
        "parameters": [
            _parameter(parameter, schemas) for parameter in parameters_of(declaration, route.access)
        ],
    }
    if declaration.body is not None:
        described["requestBody"] = {
            "description": declaration.body.text,
            "required": declaration.body.is_required,
            "content": {
                JSON: {
                    "schema": schemas.of_body(declaration.body),
                    **_examples(
                        (
                            each
                            for each in declaration.examples
                            if each.status not in _OF_BAD_BODIES
                        ),
                        lambda example: example.body,
                    ),
                }
            },
        }
    described["responses"] = _responses(route, schemas)
    if route.access is not Access.PUBLIC:
        described["security"] = [{route.access.value: []}]
    return described


def _parameter(parameter: Parameter, schemas: _Schemas) -> dict[str, object]:
    described: dict[str, object] = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.text,
        "required": parameter.is_required or parameter.place == "path",
        "schema": schemas.of(parameter.schema),
    }
    if parameter.is_deep_object:
        described.update(style="deepObject", explode=True)
    if parameter.example is not None:
        described["example"] = parameter.example
    return described


def _responses(route: Route, schemas: _Schemas) -> dict[str, object]:
    declaration = route.declaration
    responses: dict[str, dict[str, Any]] = {
        str(answered.status): _answered(answered, declaration, schemas)
        for answered in declaration.answers
    }
    for status, codes in problems_of(declaration, route.access).items():
        known = responses.setdefault(
            str(status), {"description": "", "headers": _headers(headers_of(status)), "content": {}}
        )
        texts = (known["description"], _problems_text(codes))
        known["description"] = "\n\n".join(filter(None, texts))
        own = [each for each in declaration.examples if each.status == status]
        of_codes = {code.wire: {"$ref": _EXAMPLE_PATH + code.wire} for code in codes}
        content = known.setdefault("content", {})
        schema = _problem_schema(codes, schemas)
        if PROBLEM_CONTENT_TYPE in content:
            # A frozen problem, which has no request id, beside one that is told anew each time.
            schema = {"oneOf": [content[PROBLEM_CONTENT_TYPE]["schema"], schema]}
        content[PROBLEM_CONTENT_TYPE] = {
            "schema": schema,
            "examples": {**_by_name(own, lambda example: example.answer), **of_codes},
        }
    return dict(sorted(responses.items()))


def _answered(answered: Answered, declaration: Declaration, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": answered.text,
        "headers": _headers(headers_of(answered.status, answered.headers)),
    }
    if answered.schema is not None:
        examples = [each for each in declaration.examples if each.status == answered.status]
        described["content"] = {
            answered.content_type: {
                "schema": schemas.of(answered.schema),
                **_examples(examples, lambda example: example.answer),
            }
        }
    if answered.links:
        described["links"] = {
            link.name: {"operationId": link.operation, "parameters": dict(link.parameters)}
            for link in answered.links
        }
    return described


def _problem_schema(codes: Sequence[Code], schemas: _Schemas) -> object:
    """Return the shape of a problem with one of these codes."""
    of_route = {"properties": {"code": {"enum": [code.wire for code in codes]}}}
    return {"allOf": [schemas.of(PROBLEM), of_route]}


def _problems_text(codes: Sequence[Code]) -> str:
    lines = []
    for code in codes:
        kind: ProblemKind = code.value
        lines.append(f"- [`{code.wire}`]({PROBLEM_TYPE_BASE}{code.wire}): {kind.title}.")
    return "\n".join(lines)


def _headers(headers: Iterable[Header]) -> dict[str, object]:
    return {
        header.name: {
            "description": header.text,
            "required": header.is_required,
            "schema": header.schema,
        }
        for header in headers
    }


def _examples(
    examples: Iterable[Example], value_of: Callable[[Example], object]
) -> dict[str, object]:
    found = _by_name(examples, value_of)
    return {"examples": found} if found else {}


def _by_name(
    examples: Iterable[Example], value_of: Callable[[Example], object]
) -> dict[str, object]:
    return {
        example.name: {"summary": example.text, "value": value}
        for example in examples
        if (value := value_of(example)) is not None
    }
