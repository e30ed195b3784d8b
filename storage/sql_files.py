"""SQL lives in ``.sql`` files, each statement under a line ``-- its_name --``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources

from payments.defects import InvariantViolation

_NAME_LINE = re.compile(r"^-- ([a-z][a-z0-9_]*) --$", re.MULTILINE)


def read_sql(path: str) -> str:
    """Return the text of a file below ``storage/sql``, of a checkout or an installed wheel."""
    return resources.files("storage").joinpath("sql", path).read_text(encoding="utf-8")


def parse_statements(text: str) -> Mapping[str, str]:
    """Return statements by name, without the final semicolon.

    What stands before the first name is a preface. Comments inside a statement stay: they show in
    the server's log beside a slow statement. Raises InvariantViolation for a name used twice, a
    statement that is empty, or no statement.
    """
    parts = _NAME_LINE.split(text)[1:]
    statements: dict[str, str] = {}
    for name, body in zip(parts[0::2], parts[1::2], strict=True):
        statement = body.strip().removesuffix(";")
        if name in statements:
            raise InvariantViolation(f"two statements are named {name}")
        if not statement:
            raise InvariantViolation(f"the statement {name} is empty")
        statements[name] = statement
    if not statements:
        raise InvariantViolation("the file names no statement")
    return statements


def load_statements(path: str) -> Mapping[str, str]:
    """Return the named statements of one file below ``storage/sql``."""
    return parse_statements(read_sql(path))
