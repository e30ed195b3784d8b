"""Writing TOML: the few shapes that our configuration has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

Scalar = str | int | float | bool
Table = Mapping[str, "Scalar | Sequence[Scalar]"]


def render_toml(document: Mapping[str, Table | Sequence[Table]], *, header: str) -> str:
    """Render sections, and arrays of tables under dotted names, after a comment.

    A section's name may be dotted, such as ``postgres.shards``. Raises TypeError for other values.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    for name, tables in document.items():
        is_single = isinstance(tables, Mapping)
        for table in [tables] if isinstance(tables, Mapping) else tables:
            lines += ["", f"[{name}]" if is_single else f"[[{name}]]"]
            lines += [f"{key} = {_value(value)}" for key, value in table.items()]
    return "\n".join([*lines, ""])


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for surrogates (so none are made), and DEL, which TOML wants
        # escaped too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Sequence):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_value(str(key))} = {_value(item)}' for key, item in value.items())}}}"
    raise TypeError(f"no TOML for {type(value).__name__}")
