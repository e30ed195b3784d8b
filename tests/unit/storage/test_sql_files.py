"""Named statements."""

from __future__ import annotations

from importlib import resources

import pytest

from payments.defects import InvariantViolation
from storage.sql_files import load_statements, parse_statements


def test_statements_are_found_by_name() -> None:
    """Each statement keeps its comments and loses its final semicolon; a preface is no statement."""
    text = "-- What this is.\n\n-- first --\n-- Why.\nSELECT 1;\n\n-- second_one --\nSELECT 2;\nSELECT 3;\n"
    assert parse_statements(text) == {
        "first": "-- Why.\nSELECT 1",
        "second_one": "SELECT 2;\nSELECT 3",
    }


@pytest.mark.parametrize(
    "text",
    [
        "-- twice --\nSELECT 1;\n-- twice --\nSELECT 2;",
        "-- empty --\n\n-- full --\nSELECT 1;",
        "SELECT 1;",
    ],
)
def test_a_file_that_can_not_be_meant_is_refused(text: str) -> None:
    """A name used twice, an empty statement or no statement at all is a defect of ours."""
    with pytest.raises(InvariantViolation):
        parse_statements(text)


def test_every_file_of_the_package_parses() -> None:
    """All SQL files but the schema itself hold named statements."""
    folder = resources.files("storage").joinpath("sql")
    names = [item.name for item in folder.iterdir() if item.name.endswith(".sql")]
    assert "flush.sql" in names
    for name in names:
        if name != "schema.sql":
            assert load_statements(name)
