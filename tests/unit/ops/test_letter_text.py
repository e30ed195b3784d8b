"""How a dead letter's body is shown."""

from __future__ import annotations

from ops.letter_text import field_rows, raw_text


def test_raw_bytes_are_text_without_a_programmers_quotes() -> None:
    """Printable ASCII as it is, the rest as escapes that can't be taken for it."""
    assert raw_text(b"1|0") == "1|0"
    assert raw_text(b"a'b") == "a'b"
    assert raw_text(b"\xff\\xff\n") == "\\xff\\\\xff\\x0a"


def test_fields_stand_in_rows_of_their_own() -> None:
    """Raw ones by the names that the message gives them, redacted ones by the known names."""
    assert field_rows(["v", "1|0", "p"]) == [("field v", "1|0"), ("field p", "")]
    assert field_rows({"v": "3 bytes", "others": None}) == [("field v", "3 bytes")]
    assert field_rows(None) == [("fields", "unreadable: an unknown envelope")]
