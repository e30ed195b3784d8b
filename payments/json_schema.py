"""How the shapes of answers are written down: JSON Schema (2020-12) as plain values.

A shape stands beside the code that renders it. Tests hold every answer they get against it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from payments.money import AMOUNT_MINOR_MAX

Schema = Mapping[str, object]


def record(
    title: str, text: str, members: Mapping[str, Schema], *, optional: Collection[str] = ()
) -> Schema:
    """Return the shape of an object with these members, all of them there unless optional.

    ``title`` names it in the document, so it is unique. Further members may come with a later version, and
    readers pass over them; tests don't.
    """
    return {
        "title": title,
        "type": "object",
        "description": text,
        "properties": dict(members),
        "required": [name for name in members if name not in optional],
    }


def constant(value: str) -> Schema:
    """Return the shape of a text that is always the same."""
    return {"type": "string", "const": value}


def one_of(*values: str, text: str = "") -> Schema:
    """Return the shape of a text out of a list."""
    return _with_text({"type": "string", "enum": list(values)}, text)


def text(description: str = "", **rules: object) -> Schema:
    """Return the shape of a text; ``rules`` are keywords of JSON Schema."""
    return _with_text({"type": "string", **rules}, description)


def minor_units(description: str = "", *, minimum: int | None = 0) -> Schema:
    """Return the shape of an amount of a payment; None for one that may be negative."""
    bounds = {} if minimum is None else {"minimum": minimum, "maximum": AMOUNT_MINOR_MAX}
    return _with_text({"type": "integer", **bounds}, description)


def nullable(schema: Schema) -> Schema:
    """Return the shape of what has this one or is null."""
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema and "title" not in schema:
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(item: Schema) -> Schema:
    """Return the shape of one page of a list."""
    return record(
        f"{item['title']}List",
        "One page of a list.",
        {
            "object": constant("list"),
            "data": {"type": "array", "items": item},
            "has_more": {"type": "boolean", "description": "Whether the list goes on."},
        },
    )


TIME: Schema = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
}
"""RFC 3339 in UTC with milliseconds."""

CURRENCY: Schema = {"type": "string", "pattern": "^[A-Z]{3}$"}


def _with_text(schema: dict[str, object], description: str) -> Schema:
    return {**schema, "description": description} if description else schema
