"""Whether an answer is one that the document tells of."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match


class Conformity:
    """Judges answers by an OpenAPI document, more strictly than a client: no member may be new."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = _closed(document)
        self._validators: dict[str, Draft202012Validator] = {}
        self._paths = [
            (re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path))), path)
            for path in sorted(document["paths"], key=lambda path: path.count("{"))
        ]
        self.count = 0
        """How many answers were judged."""

    def of_answer(
        self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes
    ) -> str | None:
        """Return what is wrong with an answer, or None; also of a route that is not documented.

        That every route is documented is a test of its own: it names them, where this would name every answer.
        """
        is_head = method == "HEAD"
        operation = self._operation("GET" if is_head else method, path.partition("?")[0])
        if operation is None:
            return None
        self.count += 1
        answer = operation["responses"].get(str(status))
        if answer is None:
            return f"{method} {path}: {status} is not documented"
        found = self._of_headers(answer, headers)
        return found if found or is_head else self._of_body(answer, headers, body)

    def of_value(self, value: object, schema: Mapping[str, Any]) -> str | None:
        """Return what is wrong with a value, or None."""
        key = json.dumps(schema, sort_keys=True)
        validator = self._validators.get(key)
        if validator is None:
            rooted = {**_closed(schema), "components": self._document["components"]}
            validator = Draft202012Validator(rooted, format_checker=FormatChecker())
            self._validators[key] = validator
        error = best_match(validator.iter_errors(value))
        return None if error is None else f"{error.json_path}: {error.message}"

    def _operation(self, method: str, path: str) -> Any:
        for pattern, template in self._paths:
            if pattern.fullmatch(path):
                return self._document["paths"][template].get(method.lower())
        return None

    def _of_headers(self, answer: Mapping[str, Any], headers: Mapping[str, str]) -> str | None:
        given = {name.lower(): value for name, value in headers.items()}
        for name, header in answer["headers"].items():
            value = given.get(name.lower())
            if value is None:
                if header["required"]:
                    return f"the header {name} is missing"
                continue
            is_number = header["schema"].get("type") == "integer"
            complaint = self.of_value(int(value) if is_number else value, header["schema"])
            if complaint is not None:
                return f"{name}: {complaint}"
        return None

    def _of_body(
        self, answer: Mapping[str, Any], headers: Mapping[str, str], body: bytes
    ) -> str | None:
        content = answer.get("content", {})
        if not content:
            return None
        kind = headers.get("Content-Type", "").partition(";")[0]
        if kind not in content:
            return f"{kind} is not documented"
        if "json" not in kind:
            return None
        try:
            value = json.loads(body)
        except ValueError:
            return "the body is no JSON"
        return self.of_value(value, content[kind]["schema"])


def _closed(schema: Any) -> Any:
    """Return a schema in which objects with named members may have no others.

    Not where they are only part of what is said of an object (``allOf``): the whole says which there are.
    """
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    is_whole = schema.get("type") == "object" and "properties" in schema
    return {"additionalProperties": False, **closed} if is_whole else closed
